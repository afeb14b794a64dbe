import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from asr_kd.distillation.quality import Sums
from asr_kd.report import specialists
from asr_kd.report.frames import METRICS, Described
from asr_kd.report.specialists import Pair, covering_rows
from asr_kd.report.sweep import collect, with_specialists


def covered(*correct: int) -> dict[int, dict[str, Sums]]:
    """Frames whose label no specialist knows, and one knows, of as many speakers as there are numbers."""
    return {
        count: {
            f"s{place}": Sums(frames=100, correct=own, cross_entropy=50.0)
            for place, own in enumerate(correct)
        }
        for count in (0, 1)
    }


def test_changes_have_an_interval_by_speaker() -> None:
    for row in covering_rows(Pair([covered(70, 80, 60)], [covered(60, 75, 50)]), seed=0):
        assert (row["frames"], row["change_in_correct"]) == (300, 25)
        change = row["accuracy_change"]
        assert change["low"] <= change["value"] <= change["high"]


def test_differences_are_paired_by_speaker() -> None:
    """Speakers differ, and what is gained on each does not: there is nothing to be unsure of."""
    for row in covering_rows(Pair([covered(75, 95, 15)], [covered(70, 90, 10)]), seed=0):
        change = row["accuracy_change"]
        assert (change["low"], change["high"]) == pytest.approx((0.05, 0.05))


def test_of_one_speaker_there_is_none() -> None:
    rows = covering_rows(Pair([covered(70)], [covered(60)]), seed=0)
    assert [(row["change_in_correct"], row["accuracy_change"]) for row in rows] == [(10, None), (10, None)]


def write_run(folder: Path, generalist: str, correct: Mapping[str, tuple[int, ...]]) -> None:
    """A run's tables, from the correct ones of 100 frames of each speaker that no specialist knows.

    Of 100 that one knows 10 fewer are correct, 5 fewer among the senones of sets; a wrong frame has 1 nat.
    """
    for name, numbers in correct.items():
        sums = {}
        for place, own in enumerate(numbers):
            for count, right in ((0, own), (1, own - 10)):
                found = Sums(100, right, 100.0 - right, correct_among_covered=count * (own - 5))
                sums[f"{count}/s{place}"] = dataclasses.astuple(found)
        (folder / name).mkdir(parents=True)
        (folder / name / "quality.json").write_text(json.dumps({"parts": {"test": {"covered": sums}}}))
    settings = {
        "of-specialists": {"teachers": "specialists", "temperature": 2.0},
        "of-generalist": {"teachers": generalist, "temperature": 2.0},
        "cold": {"teachers": generalist, "temperature": 1.0},
    }
    kinds = {"specialists": "specialists"} | dict.fromkeys(settings, "student")
    systems = [Described(name, kinds.get(name, "member"), settings.get(name, {})) for name in correct]
    specialists.write(folder, systems, generalist, seed=0)


def test_several_runs_are_compared_with_their_own_generalists(tmp_path: Path) -> None:
    """Each run's specialists are better by one frame a speaker than its generalist, not than the other's."""
    of_first = {
        "specialists": (71, 81),
        "of-specialists": (74, 84),
        "of-generalist": (72, 82),
        "cold": (1, 2),
    }
    of_second = {
        "specialists": (61, 51),
        "of-specialists": (64, 54),
        "of-generalist": (62, 52),
        "cold": (1, 2),
    }
    members = {"member-0": (70, 80), "member-1": (60, 50)}
    write_run(tmp_path / "first", "member-0", members | of_first)
    write_run(tmp_path / "second", "member-1", members | of_second)
    groups = [("`top=2`", [tmp_path / "first", tmp_path / "second"])]
    specialists.write_pooled(tmp_path, groups, seed=0)

    (content,) = json.loads((tmp_path / "specialists.json").read_text())
    assert content["generalists"] == ["member-0", "member-1"]
    rows = content["systems"]
    assert list(rows) == ["generalist", "specialists", "of-specialists", "of-generalist", "cold"]
    whole, known = rows["generalist"]["all"], rows["generalist"]["covered"]
    assert (whole["frames"], known["frames"]) == (800, 400)
    assert (whole["accuracy"], known["accuracy"]) == pytest.approx((0.60, 0.55))
    assert (whole["cross_entropy"], known["cross_entropy"]) == pytest.approx((0.40, 0.45))
    assert known["accuracy_among_covered"] == pytest.approx(0.60)
    better = rows["specialists"]
    for change in (better["all"]["accuracy_change"], better["covered"]["accuracy_among_covered_change"]):
        assert list(change.values()) == pytest.approx([0.01] * 3)
    assert better["covered"]["cross_entropy_change"]["value"] == pytest.approx(-0.01)
    (students,) = content["students"]  # a control of another temperature is none
    assert (students["student"], students["control"]) == ("of-specialists", "of-generalist")
    assert students["covered"]["accuracy_change"]["value"] == pytest.approx(0.02)
    table = (tmp_path / "specialists.md").read_text()
    assert "`top=2`: 2 runs" in table and "| of-specialists, change to of-generalist | 64.00 | +2.00" in table

    specialists.remove(tmp_path)
    assert not list(tmp_path.glob("specialists.*"))


def test_runs_of_a_sweep_that_differ_in_the_generalist_are_one(tmp_path: Path) -> None:
    runs = []
    for top, generalist in (("1", "member-0"), ("1", "member-1"), ("2", "member-0")):
        work = tmp_path / f"{top}-{generalist}"
        write_run(work / "distill" / "frames", generalist, {generalist: (7, 8), "specialists": (7, 9)})
        runs.append(({"train.specialists.top": top, "train.specialists.generalist": generalist}, work))
    plain = ({"train.specialists.top": "0"}, tmp_path)
    folders = [work / "distill" / "frames" for _, work in runs]
    assert with_specialists([*runs, plain]) == [
        ("`train.specialists.top=1`", folders[:2]),
        ("`train.specialists.top=2`", folders[2:]),
    ]
    row = {"name": "specialists", "runs": ["specialists"], "kind": "specialists", "parameters": 1}
    row |= {part: {key: {"runs": [0.5]} for key in METRICS} | {"errors": [1]} for part in ("dev", "test")}
    member = {**row, "name": "member-2", "runs": ["member-2"]}  # in every run
    for place, folder in enumerate(folders):
        row["parameters"] = place
        (folder / "frames.json").write_text(json.dumps([row, member]))
    assert [(row["swept"], row["runs"]) for row in collect(runs)] == [
        ({"train.specialists.top": "1"}, 2),
        ({"train.specialists.top": "1"}, 1),
        ({"train.specialists.top": "2"}, 1),
        ({"train.specialists.top": "2"}, 1),
    ]
