"""What specialists are worth by frame: on their own senones, and by how many of them know a senone.

The two columns and table 4 of Hinton, Vinyals and Dean (2015), section 5, with intervals.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import replace_file
from asr_kd.distillation.quality import QUALITY_FILE, Sums
from asr_kd.seeding import generator
from asr_kd.significance.bootstrap import bootstrap_rates, interval

TABLE_FILE, DATA_FILE = "specialists.md", "specialists.json"
SYSTEM = "specialists"
_PART = "test"

# By how many specialists know the label, the sums of each speaker.
Covered = dict[int, dict[str, Sums]]


def write(folder: Path, systems: Sequence[str], generalist: str, seed: int) -> None:
    """Write ``specialists.json`` and ``specialists.md`` from every system's ``quality.json``.

    Args:
        folder: where the folders of the systems lie.
        systems: their names, in the order of the table.
        generalist: the one that all are compared with.
        seed: of the bootstrap.
    """
    found = {name: read_covered(folder / name / QUALITY_FILE) for name in systems}
    content = {
        "generalist": generalist,
        "systems": {name: _system_row(one, found[generalist], seed, name) for name, one in found.items()},
        "by_covering": covering_rows(found[SYSTEM], found[generalist], seed),
    }
    with replace_file(folder / DATA_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with replace_file(folder / TABLE_FILE) as temporary:
        temporary.write_text(_markdown(content), encoding="utf-8")


def read_covered(path: Path) -> Covered:
    """The sums on test of a ``quality.json``."""
    found: Covered = {}
    for key, sums in json.loads(path.read_text(encoding="utf-8"))["parts"][_PART]["covered"].items():
        count, speaker = key.split("/", 1)
        found.setdefault(int(count), {})[speaker] = Sums(*sums)
    return found


def covering_rows(system: Covered, generalist: Covered, seed: int) -> list[dict[str, Any]]:
    """By how many specialists know the label: frames, change of correct ones, accuracies with an interval."""
    rows = []
    for count in sorted(generalist):
        frames, mine, theirs = _paired(system, generalist, [count], "correct")
        gained = _difference(frames, mine, theirs, generator(seed, "specialists", "covering", count))
        rows.append(
            {
                "specialists": count,
                "frames": int(frames.sum()),
                "accuracy_generalist": float(theirs.sum() / frames.sum()),
                "change_in_correct": int(mine.sum() - theirs.sum()),
                "accuracy_change": gained,
            }
        )
    return rows


def _system_row(system: Covered, generalist: Covered, seed: int, name: str) -> dict[str, Any]:
    """On all frames, and on those whose label a specialist knows: ``covered``.

    There ``accuracy_among_covered`` is the paper's conditional accuracy: the most probable one is looked for
    among the senones that specialists know.
    """
    row: dict[str, Any] = {}
    metrics = {"accuracy": "correct", "cross_entropy": "cross_entropy"}
    among = {"accuracy_among_covered": "correct_among_covered"}
    for where, counts, counted in (
        ("all", sorted(generalist), metrics),
        ("covered", [c for c in generalist if c > 0], metrics | among),
    ):
        row[where] = {}
        for metric, key in counted.items():
            frames, mine, theirs = _paired(system, generalist, counts, key)
            if not frames.sum():
                continue
            draws = generator(seed, "specialists", name, where, metric)
            row[where]["frames"] = int(frames.sum())
            row[where][metric] = float(mine.sum() / frames.sum())
            row[where][f"{metric}_change"] = _difference(frames, mine, theirs, draws)
    return row


def _paired(
    system: Covered, generalist: Covered, counts: Sequence[int], key: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames and the sums `key` of both, by speaker: each ``(speakers,)``."""
    speakers = sorted({speaker for count in counts for speaker in generalist.get(count, {})})

    def column(of: Covered, name: str) -> np.ndarray:
        return np.array(
            [sum(getattr(of[count].get(one, Sums()), name) for count in counts) for one in speakers], float
        )

    return column(generalist, "frames"), column(system, key), column(generalist, key)


def _difference(
    frames: np.ndarray, mine: np.ndarray, theirs: np.ndarray, random: np.random.Generator
) -> dict[str, float] | None:
    """With its interval by speaker; None where there is but one."""
    draws = bootstrap_rates(np.stack([mine, theirs], 1), frames, random)
    value = float((mine.sum() - theirs.sum()) / frames.sum())
    found = interval(value, draws[:, 0] - draws[:, 1], len(frames))
    return asdict(found) if found else None


def _markdown(content: Mapping[str, Any]) -> str:
    lines = [
        "# Specialists",
        "",
        f"On test; change: to {content['generalist']}, with its paired 95 % interval by speaker. "
        "Covered: on the frames whose senone is in the set of a specialist. Conditional, as in the paper: on "
        "these frames, the most probable of the senones in any set.",
        "",
        "| system | accuracy % | change | conditional accuracy % | change | covered accuracy % | change | "
        "cross entropy | change | covered cross entropy | change |",
        "|---|" + "--:|" * 10,
    ]
    columns = (
        ("all", "accuracy", 100, 2),
        ("covered", "accuracy_among_covered", 100, 2),
        ("covered", "accuracy", 100, 2),
        ("all", "cross_entropy", 1, 3),
        ("covered", "cross_entropy", 1, 3),
    )
    for name, row in content["systems"].items():
        cells = [
            cell
            for where, metric, scale, digits in columns
            for cell in _cells(row[where], metric, scale, digits)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Generalist and specialists against the generalist, by how many specialists know the label:",
        "",
        "| specialists | frames | generalist % | change in correct frames | change of accuracy, points |",
        "|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['specialists']} | {row['frames']:,} | {100 * row['accuracy_generalist']:.2f} | "
        f"{row['change_in_correct']:+,} | {_change(row['accuracy_change'], 100, 2)} |"
        for row in content["by_covering"]
    ]
    return "\n".join([*lines, ""])


def _cells(row: Mapping[str, Any], metric: str, scale: float, digits: int) -> tuple[str, str]:
    if metric not in row:
        return "", ""
    return f"{scale * row[metric]:.{digits}f}", _change(row[f"{metric}_change"], scale, digits)


def _change(found: Mapping[str, float] | None, scale: float, digits: int) -> str:
    if found is None:
        return ""
    value, low, high = (scale * found[key] for key in ("value", "low", "high"))
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
