import json
from pathlib import Path

import pytest

from asr_kd import artifacts
from asr_kd.bench.material import choose_utterances
from asr_kd.config import Config
from asr_kd.corpus.manifest import Utterance
from asr_kd.decoding.systems import recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.stages import bench, bench_deployed
from tests.report.decodings import write_decodings
from tests.work_folder import make_model, make_work

WRONG = {"gmm": 4, "member-0": 3, "member-1": 3, "ensemble": 2, "student": 1}


@pytest.fixture
def recipe(tmp_path: Path) -> tuple[Config, Path]:
    config = make_work(tmp_path)
    config.bench.passes = 2
    config.bench.systems = ["member-0", "ensemble", "student"]  # there is no alignment model
    write_decodings(config, tmp_path, WRONG)
    return config, tmp_path


def test_factors_stand_beside_the_word_error_rate_of_the_same_decoding(
    recipe: tuple[Config, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, work = recipe
    bench.run(config, work)
    content = json.loads((work / "bench" / "bench.json").read_text())
    assert [row["system"] for row in content["systems"]] == ["member-0", "ensemble", "student"]
    for row in content["systems"]:
        decoding = artifacts.Artifact(work / "decode" / "bigram" / row["system"])
        metrics = json.loads((decoding / "metrics.json").read_text())
        assert row["decoding"] == decoding.digest
        assert row["same_architecture"] == (["member-1"] if row["system"] == "member-0" else [])
        assert row["wer"] == metrics["parts"]["test"]["wer"]
        rtf = {phase: values["median"] for phase, values in row["rtf"].items()}
        assert min(rtf.values()) > 0
        assert rtf["total"] >= max(rtf["features"], rtf["acoustic"], rtf["search"])
    bench.run(config, work)
    assert "bench: up to date" in capsys.readouterr().out


def test_all_systems_are_measured_and_of_members_one_an_architecture(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.bench.systems = []
    names = [system.name for system in bench.choose_systems(config, work)]
    assert names == ["gmm", "member-0", "ensemble", "student"]
    make_model(work / "train" / "member-1", seed=5, hidden_layers=2)
    names = [system.name for system in bench.choose_systems(config, work)]
    assert names == ["gmm", "member-0", "member-1", "ensemble", "student"]


def test_systems_by_name(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.bench.systems = ["student", "gmm"]
    assert [system.name for system in bench.choose_systems(config, work)] == ["student", "gmm"]
    config.bench.systems = ["student", "pupil"]
    with pytest.raises(AsrKdError, match=r"'pupil'; there are gmm, member-0"):
        bench.choose_systems(config, work)


def test_utterances_are_spread_over_the_part() -> None:
    known = [Utterance(str(number), "s", "", "", 0.0, 2.0) for number in range(10)]
    assert [one.id for one in choose_utterances(known, 8.0)] == ["0", "2", "5", "7"]
    assert choose_utterances(known, 300.0) == known
    assert len(choose_utterances(known, 0.1)) == 1


def test_all_that_the_table_of_deployed_systems_says_decides_whether_it_is_up_to_date(
    recipe: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, work = recipe
    write(work / "bench", "first")
    student = [system for system in recipe_systems(config, work) if system.name == "student"]

    def made_from() -> str:
        return json.dumps(bench_deployed._made_from(config, work, "bigram", student, "P"), sort_keys=True)

    known = {made_from()}
    for number, folder in enumerate(
        ("bench", "align/graph-bigram", "align/labels", "features/train", "distill/student",
         "decode/bigram/student", "decode/bigram/ensemble", "decode/bigram/member-1")
    ):  # fmt: skip
        write(work / folder, "second")
        known.add(made_from())
        assert len(known) == number + 2, folder
    test_part = work / "data" / "test.jsonl"
    test_part.write_text(test_part.read_text() + "\n")
    known.add(made_from())
    monkeypatch.setattr(bench_deployed, "available_cores", lambda: 99)
    known.add(made_from())
    assert len(known) == 11


def test_the_table_takes_each_real_time_factor_from_where_it_was_measured(
    recipe: tuple[Config, Path],
) -> None:
    config, work = recipe
    measured = {"acoustic": {"median": 0.002}, "total": {"median": 0.005}}
    (work / "bench").mkdir()
    content = {"systems": [{"system": "student", "rtf": measured}]}
    (work / "bench" / "bench.json").write_text(json.dumps(content))
    config.bench.threads = 1
    rows = [
        {"system": "student", "threads": threads, "wer": 0.1, "rtf": {"total": {"median": 0.01 / threads}}}
        for threads in (1, 2)
    ]
    points = {point["system"]: point for point in bench_deployed._pareto(config, work, "bigram", rows)}
    keys = ("acoustic_rtf", "torch_rtf", "deployed_rtf", "deployed_wer")
    assert [points["student"][key] for key in keys] == [0.002, 0.005, 0.01, 0.1]
    assert [points["ensemble"][key] for key in keys] == [None] * 4
    assert "gmm" not in points


def write(folder: Path, content: str) -> None:
    with artifacts.create(folder, {"content": content}) as partial:
        (partial / "content").write_text(content)
