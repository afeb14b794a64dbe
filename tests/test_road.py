"""The whole road, very small: from synthesised speech to the report, then again with nothing to do."""

import json
import shutil
from pathlib import Path

import pytest

from asr_kd import artifacts, cli
from tests.small_mini import settings_in, work_of


@pytest.fixture(scope="module")
def road(finished_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The settings of a finished run; its folder is the last one's value."""
    work = tmp_path_factory.mktemp("road") / "exp"
    shutil.copytree(finished_mini / "exp", work)
    return settings_in(finished_mini / "corpora", work)


def times_made(settings: list[str]) -> dict[Path, int]:
    """When each artefact was made. The report is written at the end of every run."""
    work = work_of(settings)
    return {
        path: path.stat().st_mtime_ns for path in work.rglob("manifest.json") if path.parent.name != "report"
    }


def test_report_holds_every_system(road: list[str]) -> None:
    report = json.loads((work_of(road) / "report" / "report.json").read_text())
    kinds = {system["name"]: system["kind"] for system in report["systems"]}
    assert kinds == {
        "gmm": "gmm",
        "member-0": "member",
        "member-1": "member",
        "ensemble": "ensemble",
        "student": "student",
        "half": "pruned",
        "half_int8": "int8",
    }
    for system in report["systems"]:
        assert system["metrics"]["test"]["words"] > 0
        assert 0 <= system["metrics"]["test"]["wer"] < 1
        assert ("rtf" in system) != (system["name"] == "member-1") == ("rtf_of" in system)
    assert set(report["gap_closed"]["student"]) >= {"frame_accuracy", "cross_entropy"}


def test_second_run_does_nothing_again(road: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = times_made(road)
    assert cli.main(["run", *road, "stop_stage=decode"]) == 0
    assert times_made(road) == made
    assert "up to date" in capsys.readouterr().out


def test_changed_setting_repeats_what_depends_on_it(road: list[str]) -> None:
    made = times_made(road)
    changed = [*road, "distill.students.student.temperature=4", "stage=distill", "stop_stage=distill"]
    assert cli.main(["run", *changed]) == 0
    again = {path.parent.name for path, time in times_made(road).items() if made[path] != time}
    assert again == {"targets", "student"}


def test_later_stage_refuses_what_was_made_with_other_settings(
    road: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *road, "train.optimiser.epochs=9", "stage=decode"]) == 1
    message = capsys.readouterr().err
    assert "train.optimiser.epochs" in message
    assert "stage=train" in message


def test_later_stage_refuses_what_an_earlier_version_made(
    road: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(artifacts.FORMATS, "member", 2)
    assert cli.main(["run", *road, "stage=distill"]) == 1
    message = capsys.readouterr().err
    assert "member-0 was made by an earlier version" in message


@pytest.mark.parametrize("stage", ["features", "distill"])
def test_damaged_artefact_is_refused_by_name(
    road: list[str], capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    file = work_of(road) / "features" / "train" / "fbank.npy"
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert cli.main(["run", *road, f"stage={stage}", f"stop_stage={stage}"]) == 1
    finally:
        file.write_bytes(content)
    assert "features/train/fbank.npy" in capsys.readouterr().err
