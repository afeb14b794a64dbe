"""The sweep around the stages, which have tests of their own: what it combines, links and puts together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr_kd import artifacts, pipeline, sweep
from asr_kd.cli import load
from asr_kd.config import Config
from asr_kd.config.stages import stage_settings
from asr_kd.errors import AsrKdError
from asr_kd.report.sweep import collect, picture, write


def test_settings_with_several_values_are_combined() -> None:
    fixed, swept = sweep.combine(["seed=1", "a.b=1,2", "models={x: {y: 1}}", "c.d=range(3)"])
    assert fixed == ["seed=1", "models={x: {y: 1}}"]
    assert swept[0] == {"a.b": "1", "c.d": "0"} and len(swept) == 6
    with pytest.raises(AsrKdError, match="give some setting several values"):
        sweep.combine(["seed=1"])
    with pytest.raises(AsrKdError, match="sweep: "):
        sweep.combine(["seed=1,,2"])


def test_folders_have_readable_and_different_names() -> None:
    assert sweep.folder_name({"distill.students.s.temperature": "2", "seed": "0"}) == "temperature=2,seed=0"
    clash = [
        sweep.folder_name({"a.seed": "1", "b.seed": "2"}),
        sweep.folder_name({"b.seed": "1", "a.seed": "2"}),
    ]
    assert clash[0] != clash[1]
    assert len(sweep.folder_name({"a": "x" * 500})) < 150
    assert "/" not in sweep.folder_name({"data.source": "/data/an4"})


def frames_row(name: str, kind: str, accuracy: float) -> dict[str, Any]:
    metrics = {
        key: {"value": accuracy, "spread": None, "runs": [accuracy]}
        for key in ("accuracy", "cross_entropy", "calibrated")
    }
    closed = {"gap_closed": {metric: {"value": 0.5, "low": 0.1, "high": 0.9} for metric in metrics}}
    part = {**metrics, "errors": [7], "frames": 10}
    return {
        "name": name,
        "kind": kind,
        "runs": [name],
        "parameters": 1000,
        "dev": part,
        "test": part | (closed if kind == "student" else {}),
    }


def test_runs_share_what_is_there_and_end_in_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "exp"
    with artifacts.create(base / "train" / "member-0", {"kind": "member"}) as folder:
        (folder / "weights").write_text("w")
    ran: list[Config] = []

    def run(config: Config) -> None:
        ran.append(config)
        if config.stop_stage == "train":
            return
        work, student = Path(config.work), config.distill.students["student"]
        assert (work / "train" / "member-0" / "weights").read_text() == "w"
        frames = work / "distill" / "frames"
        frames.mkdir(parents=True, exist_ok=True)
        accuracy = 0.5 + student.temperature / 100 + student.seed / 1000
        rows = [frames_row("mean single", "member", 0.5), frames_row("student", "student", accuracy)]
        (frames / "frames.json").write_text(json.dumps(rows))

    monkeypatch.setattr(pipeline, "run", run)
    settings = [
        f"work={base}",
        "distill.students.student.temperature=2,4",
        "distill.students.student.seed=0,1",
    ]
    folder = sweep.run(["recipe=mini", "name=t", *settings], load)
    assert folder == base / "sweeps" / "t"
    assert [one.stop_stage for one in ran] == ["train", *["distill"] * 4]
    # Earlier stages are the base's; all runs hold the same temperatures, to share one store.
    assert {(one.stage, tuple(one.distill.temperatures)) for one in ran[1:]} == {("distill", (2.0, 4.0))}
    rows = json.loads((folder / "sweep.json").read_text())
    students = [row for row in rows if row["kind"] == "student"]
    assert [(row["swept"], row["runs"]) for row in students] == [
        ({"distill.students.student.temperature": "2"}, 2),
        ({"distill.students.student.temperature": "4"}, 2),
    ]
    assert students[1]["test accuracy"]["value"] == pytest.approx(0.5405)
    assert students[1]["test accuracy"]["spread"] == pytest.approx(0.001 / 2**0.5)
    table = (folder / "sweep.md").read_text()
    assert table.count("| mean single |") == 1 and table.count("| student |") == 2
    assert (folder / "sweep.png").stat().st_size > 1000


def test_a_run_that_fails_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def run(config: Config) -> None:
        if config.stop_stage == "distill":
            tried.append(Path(config.work).name)
            raise AsrKdError("no room")

    monkeypatch.setattr(pipeline, "run", run)
    settings = [f"work={tmp_path}", "distill.students.student.temperature=1,2,4"]
    with pytest.raises(AsrKdError, match=r"run 1 of 3.*no room; 2 of 2 runs failed.*run 3 of 3"):
        sweep.run(["recipe=mini", "name=t", *settings], load)
    assert len(tried) == 3


def write_run(work: Path, rows: list[dict[str, Any]], wer: dict[str, float]) -> None:
    """What a run leaves behind; its report is of the students that are there at this moment."""
    (work / "distill" / "frames").mkdir(parents=True)
    (work / "distill" / "frames" / "frames.json").write_text(json.dumps(rows))
    write_student(work, "first")
    systems = [{"name": name, "metrics": {"test": {"wer": rate}}} for name, rate in wer.items()]
    digest = artifacts.Artifact(work / "distill" / "student").digest
    report = {"systems": systems, "provenance": {"fingerprints": {"distill/student": digest}}}
    (work / "report").mkdir()
    (work / "report" / "report.json").write_text(json.dumps(report))


def write_student(work: Path, weights: str) -> None:
    with artifacts.create(work / "distill" / "student", {"kind": "student", "weights": weights}) as folder:
        (folder / "weights").write_text(weights)


def test_word_errors_of_former_students_are_not_shown(tmp_path: Path) -> None:
    write_run(tmp_path, [frames_row("student", "student", 0.5)], {"student": 0.07})
    (row,) = collect([({}, tmp_path)])
    assert row["wer"]["value"] == 0.07
    write_student(tmp_path, "second")
    (row,) = collect([({}, tmp_path)])
    assert row["wer"] is None


def test_swept_values_that_tell_rows_apart_are_shown(tmp_path: Path) -> None:
    runs = []
    for members, accuracy in (("2", 0.5), ("3", 0.6)):
        for temperature in ("1", "2"):
            work = tmp_path / f"{members}-{temperature}"
            write_run(work, [frames_row("mean single", "member", accuracy)], {})
            runs.append(({"train.members": members, "x.temperature": temperature}, work))
    (tmp_path / "specialists.md").write_text("of an earlier sweep of this name")
    write(tmp_path, runs, seed=0)
    assert not (tmp_path / "specialists.md").exists()
    singles = [line for line in (tmp_path / "sweep.md").read_text().splitlines() if "| mean single |" in line]
    assert [line.split("|")[1:3] for line in singles] == [[" 2 ", "  "], [" 3 ", "  "]]


def test_earlier_settings_begin_at_their_stage() -> None:
    config = load(["recipe=mini"])
    assert sweep.first_stage(config, config) == "distill"
    assert sweep.first_stage(config, replace(config, train=replace(config.train, members=2))) == "train"
    assert sweep.first_stage(config, replace(config, seed=5)) == "data"
    # Students alone learn from it: who adds it to a finished recipe goes on from stage distill.
    with_audio = replace(config, data=replace(config.data, unlabelled="/data/more"))
    assert sweep.first_stage(config, with_audio) == "distill"
    assert stage_settings(with_audio, "distill") != stage_settings(config, "distill")
    assert with_audio.data.unlabelled  # left as it was


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    made_from = {"kind": "store"}
    with artifacts.create(tmp_path / "base" / "distill" / "targets", made_from) as folder:
        (folder / "ids").write_text("base")
    sweep.link_artifacts(tmp_path / "base", tmp_path / "run")
    link = tmp_path / "run" / "distill" / "targets"
    assert link.is_symlink() and artifacts.find(link, made_from)
    with artifacts.create(link, {"kind": "other"}) as folder:
        (folder / "ids").write_text("run")
    assert not link.is_symlink() and (link / "ids").read_text() == "run"
    assert (tmp_path / "base" / "distill" / "targets" / "ids").read_text() == "base"


def test_seeds_inside_of_a_run_count_as_runs(tmp_path: Path) -> None:
    row = frames_row("student", "student", 0.5)
    row["runs"] = ["student", "student-1", "student-2"]
    row["test"]["accuracy"] = {"value": 0.5, "spread": 0.1, "runs": [0.4, 0.5, 0.6]}
    (tmp_path / "distill" / "frames").mkdir(parents=True)
    (tmp_path / "distill" / "frames" / "frames.json").write_text(json.dumps([row]))
    (found,) = collect([({"x.temperature": "2"}, tmp_path)])
    assert found["runs"] == 3
    assert found["test accuracy"] == {"value": pytest.approx(0.5), "spread": pytest.approx(0.1)}


@pytest.mark.parametrize("changes", [True, False])
def test_an_ensemble_is_a_line_where_it_changes_and_a_level_where_not(tmp_path: Path, changes: bool) -> None:
    runs = []
    for members, accuracy in (("2", 0.5), ("5", 0.6 if changes else 0.5)):
        work = tmp_path / members
        rows = [frames_row("ensemble", "ensemble", accuracy), frames_row("student", "student", 0.4)]
        write_run(work, rows, {})
        runs.append(({"train.members": members}, work))
    lines = {line.get_label(): line for line in picture(collect(runs)).axes[0].get_legend_handles_labels()[0]}
    assert set(lines) == {"ensemble", "student"}
    if changes:
        heights = lines["ensemble"].lines[0].get_ydata()
        assert list(heights) == pytest.approx([50.0, 60.0])
    else:
        assert lines["ensemble"].get_linestyle() == ":"


def test_a_control_is_the_broken_line_of_its_students_colour(tmp_path: Path) -> None:
    runs = []
    for units in ("30", "800"):
        for temperature in ("1", "20"):
            work = tmp_path / f"{units}-{temperature}"
            rows = [
                frames_row("ensemble", "ensemble", 0.6 + int(units) / 10_000),
                frames_row("hard", "control", 0.4),
                frames_row("harder", "control", 0.3),
                frames_row("soft", "student", 0.5),
            ]
            write_run(work, rows, {})
            runs.append(({"models.small.hidden_units": units, "x.temperature": temperature}, work))
    lines = {
        line.get_label(): line.lines[0]
        for line in picture(collect(runs)).axes[0].get_legend_handles_labels()[0]
    }
    names = ("ensemble", "hard", "harder", "soft")
    assert set(lines) == {f"{name}, hidden_units {units}" for name in names for units in (30, 800)}
    drawn = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()]
    assert len(set(drawn)) == len(lines)  # each can be told from the others
    for units in (30, 800):
        hard, soft = (lines[f"{name}, hidden_units {units}"] for name in ("hard", "soft"))
        assert hard.get_color() == soft.get_color()
        assert (hard.get_linestyle(), soft.get_linestyle()) == ("--", "-")
    assert lines["soft, hidden_units 30"].get_color() != lines["soft, hidden_units 800"].get_color()
