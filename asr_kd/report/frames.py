"""The table of frames: how well every system classifies them, and how much of the ensemble's gain is kept.

Frame accuracy and cross entropy are steadier than word error rates, and need no decoding.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import replace_file
from asr_kd.distillation.quality import PARTS, QUALITY_FILE, Sums
from asr_kd.report.seeds import but_seed
from asr_kd.seeding import generator
from asr_kd.significance.bootstrap import Interval, bootstrap_rates, gap_closed_interval, interval

TABLE_FILE, DATA_FILE = "frames.md", "frames.json"
MEAN_SINGLE = "mean single"  # the row of the members
METRICS = ("accuracy", "cross_entropy", "calibrated")


@dataclass(frozen=True)
class Described:
    """A system with what tells it from others.

    Attributes:
        name: of its folder.
        kind: "member", "ensemble", "student", or "control": a student without a teacher.
        settings: of a student, plain data; those that differ in `seed` alone are one row with a spread.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """One system, or the mean of several, on one part: sums by speaker.

    Attributes:
        frames: with a label, ``(speakers,)``.
        errors: of these, ``(speakers,)``; of a mean of systems their mean.
        cross_entropy: in nats, summed, ``(speakers,)``.
        calibrated: at each system's dev-tuned temperature, ``(speakers,)``.
    """

    frames: np.ndarray
    errors: np.ndarray
    cross_entropy: np.ndarray
    calibrated: np.ndarray

    def value(self, metric: str) -> float:
        """Frame accuracy, or nats a frame."""
        if metric == "accuracy":
            return 1.0 - float(self.errors.sum() / self.frames.sum())
        return float(getattr(self, metric).sum() / self.frames.sum())

    def losses(self, metric: str) -> np.ndarray:
        """What is lost by speaker: errors or nats."""
        found: np.ndarray = self.errors if metric == "accuracy" else getattr(self, metric)
        return found

    @classmethod
    def mean(cls, systems: Sequence["Measured"]) -> "Measured":
        """The mean of several systems on the same frames."""
        names = ("errors", "cross_entropy", "calibrated")
        return cls(
            systems[0].frames,
            **{name: np.mean([getattr(one, name) for one in systems], axis=0) for name in names},
        )


def write(folder: Path, systems: Sequence[Described], seed: int) -> None:
    """Write ``frames.json`` and ``frames.md`` from every system's ``quality.json``.

    Args:
        folder: where the folders of the systems lie.
        systems: in the order of the table.
        seed: of the bootstrap.
    """
    rows = build_rows(folder, systems, seed)
    with replace_file(folder / DATA_FILE) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    with replace_file(folder / TABLE_FILE) as temporary:
        temporary.write_text(_markdown(rows), encoding="utf-8")


def build_rows(folder: Path, systems: Sequence[Described], seed: int) -> list[dict[str, Any]]:
    """One row a group of systems that differ in their seed alone; members are one such group.

    Of a row: ``name``, ``kind``, ``runs`` (names), ``parameters``, ``settings``; by part the metrics, each
    with ``value`` and ``spread`` (standard deviation over the runs), and on test ``gain``: the difference to
    the baseline with its paired interval by speaker, None where there is but one; and ``gap_closed``, None
    where the teacher's own gain may be nothing as well. The baseline is the mean single member; where there
    is one teacher, the first control.
    """
    found = {system.name: _read(folder / system.name / QUALITY_FILE) for system in systems}
    groups: dict[str, list[Described]] = {}
    for system in systems:
        groups.setdefault(_group_key(system), []).append(system)
    measured = {
        part: {key: [_measured(found[one.name], part) for one in group] for key, group in groups.items()}
        for part in PARTS
    }
    baseline, teacher = _ends(groups)
    rows = []
    for key, group in groups.items():
        first = group[0]
        row: dict[str, Any] = {
            "name": MEAN_SINGLE if first.kind == "member" and len(group) > 1 else first.name,
            "kind": first.kind,
            "runs": [one.name for one in group],
            "parameters": found[first.name]["parameters"],
            "settings": dict(first.settings),
            "temperature": float(np.mean([found[one.name]["temperature"] for one in group])),
        }
        for part in PARTS:
            row[part] = _metrics(measured[part][key])
        if baseline and teacher and key != baseline:
            ends = (Measured.mean(measured["test"][baseline]), Measured.mean(measured["test"][teacher]))
            row["test"] |= _against(Measured.mean(measured["test"][key]), *ends, seed)
        _add_classes(row, [found[one.name] for one in group])
        rows.append(row)
    return rows


def _group_key(system: Described) -> str:
    if system.kind == "member":
        return "member"
    if not system.settings:
        return system.name
    return but_seed(system.settings)


def _ends(groups: Mapping[str, Sequence[Described]]) -> tuple[str | None, str | None]:
    """The keys of the baseline and of the teacher."""
    of_kind: dict[str, list[str]] = {}
    for key, group in groups.items():
        of_kind.setdefault(group[0].kind, []).append(key)
    if "ensemble" in of_kind:
        return of_kind["member"][0], of_kind["ensemble"][0]
    return of_kind.get("control", [None])[0], of_kind.get("member", [None])[0]


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _measured(quality: Mapping[str, Any], part: str) -> Measured:
    units = [Sums(*sums) for sums in quality["parts"][part]["speakers"].values()]
    columns = {name: np.array([getattr(one, name) for one in units]) for name in vars(Sums())}
    errors = columns["frames"] - columns["correct"]
    return Measured(columns["frames"], errors, columns["cross_entropy"], columns["calibrated"])


def _metrics(runs: Sequence[Measured]) -> dict[str, Any]:
    metrics: dict[str, Any] = {"frames": int(runs[0].frames.sum())}
    for metric in METRICS:
        values = [run.value(metric) for run in runs]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        metrics[metric] = {"value": float(np.mean(values)), "spread": spread, "runs": values}
    metrics["errors"] = [int(run.errors.sum()) for run in runs]
    return metrics


def _against(system: Measured, baseline: Measured, teacher: Measured, seed: int) -> dict[str, Any]:
    gain: dict[str, Any] = {}
    closed: dict[str, Any] = {}
    for metric in METRICS:
        mine, theirs, best = (one.losses(metric) for one in (system, baseline, teacher))
        draws = bootstrap_rates(np.stack([mine, theirs], 1), system.frames, generator(seed, "frames", metric))
        value = float((mine.sum() - theirs.sum()) / system.frames.sum())
        gain[metric] = None
        if difference := interval(value, draws[:, 0] - draws[:, 1], len(mine)):
            # Errors are counted, and accuracy is shown.
            gain[metric] = asdict(_negated(difference) if metric == "accuracy" else difference)
        share = gap_closed_interval(
            mine, theirs, best, system.frames, generator(seed, "frames", metric, "gap closed")
        )
        closed[metric] = asdict(share) if share else None
    return {"gain": gain, "gap_closed": closed}


def _negated(found: Interval) -> Interval:
    return Interval(-found.value, -found.high, -found.low)


def _add_classes(row: dict[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    """Of the first run: with few classes, errors on test by class; and what a tuned bias leaves of them."""
    first = [Sums(*sums) for sums in runs[0]["parts"]["test"]["classes"].values()]
    if first:
        names = runs[0]["parts"]["test"]["classes"]
        row["test"]["errors_by_class"] = dict(
            zip(names, [one.frames - one.correct for one in first], strict=True)
        )
    if runs[0]["bias"] is not None:
        units = [Sums(*sums) for sums in runs[0]["parts"]["test"]["speakers"].values()]
        row["bias"] = runs[0]["bias"]
        row["test"]["errors_with_bias"] = sum(one.frames - one.correct_with_bias for one in units)


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    header = (
        "| system | runs | parameters | dev accuracy % | test accuracy % | difference | cross entropy | "
        "difference | at tuned T | gap closed %: accuracy | cross entropy | at tuned T |"
    )
    lines = [
        "# Frames",
        "",
        "Frame accuracy and cross entropy (nats a frame) against the senone labels. Difference: to the mean "
        "single member (with one teacher: to the first control), on test, with its 95 % interval by speaker; "
        "runs that differ in their seed alone are one row, mean and standard deviation. At tuned T: cross "
        "entropy of the posteriors softened by the temperature that is best on dev. Gap closed: from the "
        "baseline to the ensemble (with one teacher: to that), whoever a student learnt from, where that "
        "gain is above 0 in its whole interval.",
        "",
        header,
        "|---|" + "--:|" * (header.count("|") - 2),
    ]
    return "\n".join([*lines, *(_line(row) for row in rows), *_biases(rows), ""])


def _line(row: Mapping[str, Any]) -> str:
    test, dev = row["test"], row["dev"]
    cells = [
        row["name"],
        str(len(row["runs"])),
        f"{row['parameters']:,}",
        _value(dev["accuracy"], 100, 2),
        _value(test["accuracy"], 100, 2),
        _gain(test, "accuracy", 100, 2),
        _value(test["cross_entropy"], 1, 3),
        _gain(test, "cross_entropy", 1, 3),
        _value(test["calibrated"], 1, 3),
        *(_closed(test, metric) for metric in METRICS),
    ]
    return f"| {' | '.join(cells)} |"


def _value(metric: Mapping[str, Any], scale: float, digits: int) -> str:
    spread = f" ± {scale * metric['spread']:.{digits}f}" if metric["spread"] is not None else ""
    return f"{scale * metric['value']:.{digits}f}{spread}"


def _gain(test: Mapping[str, Any], metric: str, scale: float, digits: int) -> str:
    if test.get("gain", {}).get(metric) is None:
        return ""
    value, low, high = (scale * test["gain"][metric][key] for key in ("value", "low", "high"))
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _closed(test: Mapping[str, Any], metric: str) -> str:
    closed = test.get("gap_closed", {}).get(metric)
    if closed is None:
        return ""
    return f"{100 * closed['value']:.0f} ({100 * closed['low']:.0f} to {100 * closed['high']:.0f})"


def _biases(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said of students that never saw some classes."""
    lines = [
        f"- {row['runs'][0]}: {row['test']['errors'][0]} errors on test; {row['test']['errors_with_bias']} "
        f"once the bias of the classes it never saw is changed by {row['bias']:+.2f}, tuned on dev."
        for row in rows
        if "bias" in row
    ]
    return ["", *lines] if lines else []
