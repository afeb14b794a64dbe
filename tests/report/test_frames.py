import json
from pathlib import Path

import numpy as np
import pytest

from asr_kd.report.frames import Described, build_rows, write

SPEAKERS = 12
FRAMES = 1000


def quality(
    folder: Path,
    name: str,
    errors: float,
    nats: float,
    bias: float | None = None,
    speaker_count: int = SPEAKERS,
) -> None:
    """A system with about so many errors and nats a speaker."""
    random = np.random.default_rng(0)  # speakers are equally hard for all
    speakers = {
        f"speaker-{number:02}": [
            FRAMES,
            FRAMES - round(errors * hard),
            nats * hard,
            0.9 * nats * hard,
            FRAMES - 5,
        ]
        for number, hard in enumerate(random.uniform(0.8, 1.2, speaker_count))
    }
    part = {"speakers": speakers, "classes": {}}
    content = {
        "system": name,
        "parameters": 10,
        "temperature": 1.1,
        "bias": bias,
        "parts": {"dev": part, "test": part},
    }
    (folder / name).mkdir()
    (folder / name / "quality.json").write_text(json.dumps(content))


@pytest.fixture
def systems(tmp_path: Path) -> list[Described]:
    for name, errors, nats in (
        ("member-0", 310, 1100.0),
        ("member-1", 290, 1100.0),
        ("ensemble", 200, 1000.0),
    ):
        quality(tmp_path, name, errors, nats)
    for number, errors in enumerate((220, 230, 240)):
        quality(tmp_path, f"student-{number}", errors, 1020.0)
    found = [Described("member-0", "member", {}), Described("member-1", "member", {})]
    found.append(Described("ensemble", "ensemble", {}))
    return found + [Described(f"student-{n}", "student", {"seed": n, "temperature": 2.0}) for n in range(3)]


def test_gains_and_the_gap_closed_are_to_the_mean_single(tmp_path: Path, systems: list[Described]) -> None:
    rows = {row["name"]: row for row in build_rows(tmp_path, systems, seed=0)}
    assert list(rows) == ["mean single", "ensemble", "student-0"]
    single, student = rows["mean single"]["test"], rows["student-0"]["test"]
    assert single["accuracy"]["value"] == pytest.approx(0.7, abs=0.02)
    assert rows["student-0"]["runs"] == ["student-0", "student-1", "student-2"]
    assert student["accuracy"]["spread"] == pytest.approx(0.01, abs=0.001)
    gain = student["gain"]["accuracy"]
    assert gain["value"] == pytest.approx(student["accuracy"]["value"] - single["accuracy"]["value"])
    assert gain["low"] < gain["value"] < gain["high"]
    # Paired: all speakers gain, whatever they differ in.
    assert gain["low"] > 0
    assert student["gap_closed"]["accuracy"]["value"] == pytest.approx(0.7, abs=0.02)
    assert student["gap_closed"]["cross_entropy"]["value"] == pytest.approx(0.8, abs=0.02)
    assert student["gain"]["cross_entropy"]["high"] < 0
    assert "gain" not in single


def test_with_one_teacher_the_first_control_is_the_baseline(tmp_path: Path) -> None:
    for name, errors in (("member-0", 200), ("hard", 300), ("soft", 250)):
        quality(tmp_path, name, errors, 1000.0)
    kinds = [("member-0", "member", {}), ("hard", "control", {"a": 1}), ("soft", "student", {"a": 2})]
    rows = build_rows(tmp_path, [Described(*one) for one in kinds], seed=0)
    assert rows[2]["test"]["gap_closed"]["accuracy"]["value"] == pytest.approx(0.5, abs=0.02)
    # The teacher gains no nats: the share of nothing is not defined.
    assert rows[2]["test"]["gap_closed"]["cross_entropy"] is None


def test_one_speaker_tells_nothing_about_others(tmp_path: Path) -> None:
    kinds = {"member-0": "member", "member-1": "member", "ensemble": "ensemble", "student": "student"}
    for place, name in enumerate(kinds):
        quality(tmp_path, name, 300 - 40 * place, 1000.0 - 40 * place, speaker_count=1)
    write(tmp_path, [Described(name, kind, {}) for name, kind in kinds.items()], seed=0)
    student = json.loads((tmp_path / "frames.json").read_text())[-1]
    nothing = dict.fromkeys(("accuracy", "cross_entropy", "calibrated"))
    assert (student["test"]["gain"], student["test"]["gap_closed"]) == (nothing, nothing)
    row = (tmp_path / "frames.md").read_text().splitlines()[-1]
    assert row.startswith("| student |") and "(" not in row


def test_table_names_every_row_and_what_a_bias_mends(tmp_path: Path, systems: list[Described]) -> None:
    quality(tmp_path, "without-3", 400, 1500.0, bias=2.5)
    write(tmp_path, [*systems, Described("without-3", "student", {"seed": 0})], seed=0)
    table = (tmp_path / "frames.md").read_text()
    assert "| student-0 | 3 | 10 |" in table and "| mean single | 2 |" in table
    assert f"; {5 * SPEAKERS} once the bias of the classes it never saw is changed by +2.50" in table
    first = (tmp_path / "frames.json").read_bytes()
    write(tmp_path, [*systems, Described("without-3", "student", {"seed": 0})], seed=0)
    assert (tmp_path / "frames.json").read_bytes() == first
