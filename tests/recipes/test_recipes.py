"""Whole recipes: every recipe has a row here. The slow tier (`make test-recipes`)."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asr_kd import cli
from asr_kd.report.headline import is_clear
from tests.small_mini import content

RECIPES = sorted(path.parent.name for path in (Path(__file__).parents[2] / "recipes").glob("*/recipe.yaml"))


@dataclass(frozen=True)
class Row:
    """How a recipe is run here, and bounds in percent.

    Attributes:
        at_most: on test WER, by kind of system.
        frames_at_least: on the frame accuracy on test, by system.
        not_above_single: kinds of systems that no test tells to be worse than the mean single network.
    """

    recipe: str
    settings: tuple[str, ...] = ()
    at_most: dict[str, float] = field(default_factory=dict)
    frames_at_least: dict[str, float] = field(default_factory=dict)
    not_above_single: tuple[str, ...] = ()


ROWS = [
    # Synthetic: bounds that only a broken road exceeds.
    Row("mini", (), {"gmm": 30.0, "member": 25.0, "student": 25.0}),
    Row(
        "an4",
        ("data.source={corpora}/an4",),
        {"gmm": 9.0, "member": 7.0},
        not_above_single=("ensemble", "student"),
    ),
    Row("speechocean762", ("data.source={corpora}/speechocean762",), {"gmm": 75.0, "member": 68.0}),
    Row(
        "librispeech_small",
        (
            "data.source={corpora}/librispeech",
            "data.parts.train=train-small",
            "data.parts.test=test-small",
            "data.lm_text={corpora}/librispeech/lm_text.txt",
            "data.dev_speakers=4",
            "lms.trigram.arpa=null",
        ),
        {"gmm": 60.0, "member": 50.0},
    ),
    Row("mnist", ("data.source={corpora}/mnist10k",), {}, {"member-0": 97.0, "hard": 95.0, "soft": 96.0}),
    # The way in for one's own data, on a corpus that lies in Kaldi data directories.
    Row(
        "kaldi_dir",
        (
            "data.source={corpora}/speechocean762",
            "data.lexicon={corpora}/speechocean762/resource/lexicon.txt",
            "train.members=2",
            "train.optimiser.epochs=2",
        ),
        {"member": 80.0},
    ),
]


def test_every_recipe_has_a_row() -> None:
    assert sorted(row.recipe for row in ROWS) == RECIPES


@pytest.mark.recipe
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.recipe)
def test_recipe_runs_to_its_report(row: Row, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    settings = list(row.settings)
    if any("{corpora}" in setting for setting in settings):
        corpora = request.getfixturevalue("corpora")
        settings = [setting.replace("{corpora}", str(corpora)) for setting in settings]
    assert cli.main(["run", f"recipe={row.recipe}", f"work={tmp_path}", *settings]) == 0
    rows = json.loads((tmp_path / "distill" / "frames" / "frames.json").read_text())
    accuracies = {name: 100 * one["test"]["accuracy"]["value"] for one in rows for name in one["runs"]}
    for name, bound in row.frames_at_least.items():
        assert accuracies[name] >= bound, name
    if not row.at_most:
        return
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (tmp_path / "report" / "report.md").is_file()
    assert (tmp_path / "report" / "report.html").stat().st_size < 5_000_000
    for kind, bound in row.at_most.items():
        rates = [
            100 * system["metrics"]["test"]["wer"] for system in report["systems"] if system["kind"] == kind
        ]
        assert rates, f"no system of kind {kind}"
        assert sum(rates) / len(rates) <= bound, f"{kind}: {rates}"
    kinds = {system["name"]: system["kind"] for system in report["systems"]}
    for pair in report["comparisons"]:
        if kinds[pair["system"]] in row.not_above_single:
            assert pair["difference"]["value"] <= 0 or not is_clear(pair), pair


@pytest.mark.recipe
def test_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    for workers in (1, 2):
        work = tmp_path / str(workers)
        settings = [f"work={work}", f"workers={workers}", "stop_stage=decode", "train.optimiser.epochs=1"]
        assert cli.main(["run", "recipe=mini", *settings]) == 0
    assert content(tmp_path / "1") == content(tmp_path / "2")
