"""What specialists are worth by frame: on their own senones, and by how many of them know a senone.

The two columns and table 4 of Hinton, Vinyals and Dean (2015), section 5, with intervals; of one run, or of
several that differ in seeds or in the generalist.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import replace_file
from asr_kd.distillation.quality import QUALITY_FILE, Sums
from asr_kd.report.frames import Described
from asr_kd.seeding import generator
from asr_kd.significance.bootstrap import bootstrap_rates, interval

TABLE_FILE, DATA_FILE = "specialists.md", "specialists.json"
SYSTEM = "specialists"
_PART = "test"
_GENERALIST = "generalist"  # of several runs, each its own

# By how many specialists know the label, the sums of each speaker.
Covered = dict[int, dict[str, Sums]]


@dataclass(frozen=True)
class Pair:
    """Two systems on the frames of one or several runs, the sums of each run.

    Attributes:
        mine: the system.
        theirs: what it is compared with.
    """

    mine: Sequence[Covered]
    theirs: Sequence[Covered]

    def covering(self) -> list[int]:
        """How many specialists may know a label, in order."""
        return sorted({count for run in self.theirs for count in run})

    def by_speaker(self, counts: Sequence[int], key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames that so many specialists know, and the sums `key` of both: each ``(speakers,)``."""
        speakers = sorted({one for run in self.theirs for count in counts for one in run.get(count, {})})

        def column(runs: Sequence[Covered], name: str) -> np.ndarray:
            found = [
                [run.get(count, {}).get(one, Sums()) for run in runs for count in counts] for one in speakers
            ]
            return np.array([sum(getattr(sums, name) for sums in own) for own in found], float)

        return column(self.theirs, "frames"), column(self.mine, key), column(self.theirs, key)


def write(folder: Path, systems: Sequence[Described], generalist: str, seed: int) -> None:
    """Write ``specialists.json`` and ``specialists.md`` from every system's ``quality.json``.

    Args:
        folder: where the folders of the systems lie.
        systems: in the order of the table.
        generalist: the one that all are compared with.
        seed: of the bootstrap.
    """
    found = {one.name: [read_covered(folder / one.name / QUALITY_FILE)] for one in systems}
    students = {one.name: dict(one.settings) for one in systems if one.kind == "student"}
    content = {
        "generalist": generalist,
        "kinds": {one.name: one.kind for one in systems},
        "settings": students,
        **_content(found, generalist, [(students, generalist)], seed),
    }
    _write(folder, content, [_section(content, f"changes are to {generalist}")])


def remove(folder: Path) -> None:
    """Delete the tables that `write` or `write_pooled` left, where there are no specialists any more."""
    for name in (TABLE_FILE, DATA_FILE):
        (folder / name).unlink(missing_ok=True)


def write_pooled(folder: Path, groups: Sequence[tuple[str, Sequence[Path]]], seed: int) -> None:
    """The same of several runs together, each compared with its own generalist; members are left out.

    Args:
        folder: where to write.
        groups: what the runs of a group have in common, and for each run the folder `write` wrote into. All
            runs have the same speakers, who are what is drawn for intervals.
        seed: of the bootstrap.
    """
    contents, sections = [], []
    for name, folders in groups:
        runs = [json.loads((one / DATA_FILE).read_text(encoding="utf-8")) for one in folders]
        found = {
            system: [read_covered(one / system / QUALITY_FILE) for one in folders]
            for system, kind in runs[0]["kinds"].items()
            if kind != "member" and all(system in run["kinds"] for run in runs)
        }
        own = [
            read_covered(one / run["generalist"] / QUALITY_FILE)
            for one, run in zip(folders, runs, strict=True)
        ]
        taught = [(run["settings"], run["generalist"]) for run in runs]
        content = _content({_GENERALIST: own, **found}, _GENERALIST, taught, seed)
        generalists = [run["generalist"] for run in runs]
        contents.append({"group": name, "generalists": generalists, **content})
        text = f"{len(runs)} runs, changes are to their generalists: {', '.join(generalists)}"
        sections.append(_section(content, f"{name}: {text}" if name else text))
    _write(folder, contents, sections)


def read_covered(path: Path) -> Covered:
    """The sums on test of a ``quality.json``."""
    found: Covered = {}
    for key, sums in json.loads(path.read_text(encoding="utf-8"))["parts"][_PART]["covered"].items():
        count, speaker = key.split("/", 1)
        found.setdefault(int(count), {})[speaker] = Sums(*sums)
    return found


def covering_rows(pair: Pair, seed: int) -> list[dict[str, Any]]:
    """By how many specialists know the label: frames, change of correct ones, accuracies with an interval."""
    rows = []
    for count in pair.covering():
        frames, mine, theirs = pair.by_speaker([count], "correct")
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


def _content(
    found: Mapping[str, Sequence[Covered]],
    generalist: str,
    taught: Sequence[tuple[Mapping[str, Mapping[str, Any]], str]],
    seed: int,
) -> dict[str, Any]:
    """What a table shows.

    Args:
        found: of every system the sums of each run.
        generalist: the system that others are compared with.
        taught: of each run the settings of its students, and its generalist.
        seed: of the bootstrap.
    """
    pairs = {name: Pair(runs, found[generalist]) for name, runs in found.items()}
    students = [
        {"student": one, "control": other, **_row(Pair(found[one], found[other]), seed, f"{one} {other}")}
        for one in found
        for other in found
        if all(_controls(settings.get(one), settings.get(other), alone) for settings, alone in taught)
    ]
    return {
        "systems": {name: _row(pair, seed, name) for name, pair in pairs.items()},
        "students": students,
        "by_covering": covering_rows(pairs[SYSTEM], seed),
    }


def _controls(student: Mapping[str, Any] | None, other: Mapping[str, Any] | None, generalist: str) -> bool:
    """Whether a student of the specialists and another are alike but that the generalist alone teaches it."""
    if student is None or other is None or student["teachers"] != SYSTEM:
        return False
    return dict(other) == {**student, "teachers": generalist}


def _row(pair: Pair, seed: int, name: str) -> dict[str, Any]:
    """On all frames, and on those whose label a specialist knows: ``covered``.

    There ``accuracy_among_covered`` is the paper's conditional accuracy: the most probable one is looked for
    among the senones that specialists know.
    """
    row: dict[str, Any] = {}
    metrics = {"accuracy": "correct", "cross_entropy": "cross_entropy"}
    among = {"accuracy_among_covered": "correct_among_covered"}
    counts = pair.covering()
    for where, some, counted in (
        ("all", counts, metrics),
        ("covered", [count for count in counts if count > 0], metrics | among),
    ):
        row[where] = {}
        for metric, key in counted.items():
            frames, mine, theirs = pair.by_speaker(some, key)
            if not frames.sum():
                continue
            draws = generator(seed, "specialists", name, where, metric)
            row[where]["frames"] = int(frames.sum())
            row[where][metric] = float(mine.sum() / frames.sum())
            row[where][f"{metric}_change"] = _difference(frames, mine, theirs, draws)
    return row


def _difference(
    frames: np.ndarray, mine: np.ndarray, theirs: np.ndarray, random: np.random.Generator
) -> dict[str, float] | None:
    """With its interval by speaker; None where there is but one."""
    draws = bootstrap_rates(np.stack([mine, theirs], 1), frames, random)
    value = float((mine.sum() - theirs.sum()) / frames.sum())
    found = interval(value, draws[:, 0] - draws[:, 1], len(frames))
    return asdict(found) if found else None


def _write(folder: Path, content: object, sections: Sequence[str]) -> None:
    with replace_file(folder / DATA_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    note = (
        "On test, with paired 95 % intervals by speaker. Covered: on the frames whose senone is in a "
        "specialist's set. Conditional, as in the paper: there, the most probable of the senones in any set."
    )
    with replace_file(folder / TABLE_FILE) as temporary:
        temporary.write_text("\n".join(["# Specialists", "", note, "", *sections]), encoding="utf-8")


_COLUMNS = (
    ("all", "accuracy", 100, 2),
    ("covered", "accuracy_among_covered", 100, 2),
    ("covered", "accuracy", 100, 2),
    ("all", "cross_entropy", 1, 3),
    ("covered", "cross_entropy", 1, 3),
)


def _section(content: Mapping[str, Any], compared: str) -> str:
    lines = [
        f"{compared[0].upper()}{compared[1:]}.",
        "",
        "| system | accuracy % | change | conditional accuracy % | change | covered accuracy % | change | "
        "cross entropy | change | covered cross entropy | change |",
        "|---|" + "--:|" * 10,
        *(_line(name, row) for name, row in content["systems"].items()),
        *(_line(f"{row['student']}, change to {row['control']}", row) for row in content["students"]),
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


def _line(name: str, row: Mapping[str, Any]) -> str:
    cells = [
        cell
        for where, metric, scale, digits in _COLUMNS
        for cell in _cells(row[where], metric, scale, digits)
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _cells(row: Mapping[str, Any], metric: str, scale: float, digits: int) -> tuple[str, str]:
    if metric not in row:
        return "", ""
    return f"{scale * row[metric]:.{digits}f}", _change(row[f"{metric}_change"], scale, digits)


def _change(found: Mapping[str, float] | None, scale: float, digits: int) -> str:
    if found is None:
        return ""
    value, low, high = (scale * found[key] for key in ("value", "low", "high"))
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
