"""What a run is estimated to take: what is up to date takes nothing, too small a disk is refused."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from asr_kd import artifacts, cli, costs
from asr_kd.costs import Constants
from asr_kd.disk import NoRoomError
from asr_kd.errors import AsrKdError
from asr_kd.preflight import calibration, check, estimate
from asr_kd.preflight.plan import Need
from asr_kd.preflight.table import ESTIMATE_FILE, Estimate, StageEstimate, outcome
from tests.small_mini import work_of

STAGES = ("features", "align", "train", "distill", "compress", "decode", "bench")


class Usage(NamedTuple):
    """Of a disk, as `shutil.disk_usage` has it."""

    total: int
    used: int
    free: int


class Everything(dict[str, float]):
    """A millisecond for every unit of work; `asked` are the units."""

    def __missing__(self, unit: str) -> float:
        self[unit] = 0.001
        return 0.001


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been measured; nothing is."""
    asked: list[str] = []

    def calibrate(needed: Iterable[Need], work: Path, workers: int) -> Constants:
        asked.extend(need.measure.__name__ for need in needed)
        return Constants(Everything(), dict.fromkeys(("numpy", "torch and kaldi", "torch"), 1000000))

    monkeypatch.setattr(estimate, "calibrate", calibrate)
    return asked


def estimated(settings: list[str], *more: str, stages: tuple[str, ...] = STAGES) -> Estimate:
    return estimate.estimate(cli.load([*settings, *more]), stages, 0.01)


def test_what_is_up_to_date_takes_nothing_and_is_not_measured(mini: list[str], needs: list[str]) -> None:
    assert not estimated(mini).stages
    assert not needs


def test_only_what_follows_a_change_is_estimated(mini: list[str], needs: list[str]) -> None:
    found = estimated(mini, "distill.students.student.temperature=4")
    assert found.stages.keys() == {"distill", "compress", "decode", "bench"}
    files = found.stages["distill"].files.keys()
    assert "distill/targets" in files and "distill/student" in files
    assert "distill/tail" not in files and "distill/frames/member-0" not in files
    decoded = {f"decode/bigram/{name}" for name in ("student", "half", "half_int8")}
    assert found.stages["decode"].files.keys() == decoded
    # The graph is there and stays: it is what searches are measured in.
    assert not found.guessed and "measure_graph" in needs
    needs.clear()
    assert not estimated(mini, "distill.students.student.temperature=4", stages=STAGES[:3]).stages
    assert not needs


def test_another_member_is_one_more_training(mini: list[str], needs: list[str]) -> None:
    one, two = (estimated(mini, f"train.members={count}", stages=("train",)) for count in (3, 4))
    assert one.stages["train"].files.keys() == {"train/member-2"}
    members = [found.stages["train"].steps["members"] for found in (one, two)]
    assert members[1] - 0.001 == pytest.approx(2 * (members[0] - 0.001))  # beside the start of a process


def test_what_specialists_take_is_planned_from_their_own_generalist(
    mini: list[str], needs: list[str]
) -> None:
    asked = ["train.specialists.count=2", "train.specialists.generalist=member-1"]
    asked += ["+models.wide={kind: dnn, hidden_units: 1024}", "train.models=[member,wide]"]
    hard = estimated(mini, *asked, stages=("train",)).stages["train"]
    specialists = {f"train/specialist-{number}" for number in range(2)}
    assert hard.files.keys() == {"train/member-1", "train/specialist-sets", *specialists}
    assert hard.files["train/specialist-0"] == hard.files["train/member-1"]
    soft = estimated(mini, *asked, "train.specialists.soft_rest=0.5", stages=("train",)).stages["train"]
    assert soft.files.keys() - hard.files.keys() == {"train/specialist-targets-train"}
    assert soft.steps.keys() - hard.steps.keys() == {"soft targets of train"}


def test_before_there_are_features_all_is_estimated(
    mini: list[str], needs: list[str], tmp_path: Path
) -> None:
    """From the manifests alone, and to what then was made."""
    finished = work_of(mini)
    fresh = tmp_path / "fresh"
    shutil.copytree(finished / "data", fresh / "data")
    found = estimated([*mini, f"work={fresh}"])
    assert found.stages.keys() == set(STAGES) and found.guessed
    assert {"measure_features", "measure_alignment", "measure_training", "measure_search"} <= set(needs)
    made = {
        one.path.relative_to(finished).as_posix(): sum(
            entry["bytes"] for entry in one.manifest["files"].values()
        )
        for one in artifacts.finished(finished)
    }
    files = {name for stage in found.stages.values() for name in stage.files}
    assert files == made.keys() - {"data", "report"}
    for stage in ("features", "train", "distill"):
        sizes = found.stages[stage].files
        assert sum(sizes.values()) == pytest.approx(sum(made[name] for name in sizes), rel=0.25), stage


def test_a_disk_that_is_too_small_is_refused_before_anything_is_measured(
    mini: list[str], needs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 3_000_000))
    with pytest.raises(
        NoRoomError, match=r": 3 MB of the disk are free.*needs about .*train .*work=FOLDER.*preflight=false"
    ):
        estimated(mini, "train.members=3")
    assert not needs


def test_what_is_replaced_makes_room(mini: list[str], needs: list[str]) -> None:
    found = estimated(mini, "features.mel_bins=39", stages=("features",))
    written = found.stages["features"].written
    assert found.peak_disk == written
    replaced = costs.Disk(written, freed=written + 10_000)
    assert costs.peak_disk([replaced, costs.Disk(5_000)]) == written


def test_a_stage_that_memory_has_no_room_for_is_named() -> None:
    small = StageEstimate(1.0, 0, 10, 20, {}, {})
    large = StageEstimate(1.0, 0, 5_000_000_000, 9_000_000_000, {}, {})
    found = Estimate({"features": small, "train": large}, 0, guessed=False)
    (warning,) = check.memory_warnings(found, 1_000_000_000)
    assert "stage train" in warning and "5.0 GB" in warning and "1.0 GB" in warning
    assert check.memory_warnings(found, None) == []


def test_the_verb_measures_shows_and_changes_no_artefact(
    mini: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole calibration, though a short one."""
    monkeypatch.setattr(check, "MEASURED_SECONDS", 0.05)
    work = work_of(mini)
    before = sorted(path for path in work.rglob("*") if path.is_file())
    settings = [*mini, "align.gmm.gaussians=310"]
    assert cli.main(["preflight", *settings]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:9]] == ["align", *STAGES[2:], "together"]
    made = sorted(path for path in work.rglob("*") if path.is_file() and path not in before)
    assert [path.name for path in made] == [calibration.CACHE_FILE, ESTIMATE_FILE]
    assert outcome(work) is None
    assert cli.main(["preflight", *mini]) == 0
    assert "up to date" in capsys.readouterr().out


def test_a_run_goes_on_where_nothing_can_be_measured(
    mini: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise AsrKdError("too little speech")

    monkeypatch.setattr(check, "map_processes", fail)
    assert check.check(cli.load(mini), []) is None
    assert "there is no estimate: too little speech" in capsys.readouterr().out
