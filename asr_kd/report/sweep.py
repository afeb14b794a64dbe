"""One table and one picture of the runs of a sweep."""

import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from asr_kd.artifacts import MANIFEST, Artifact, finished, replace_file
from asr_kd.report import specialists
from asr_kd.report.frames import DATA_FILE, METRICS
from asr_kd.report.theme import LIGHT, STUDENTS, STYLE

TABLE_FILE, JSON_FILE, PICTURE_FILE = "sweep.md", "sweep.json", "sweep.png"
_ALIKE = {"seed", "generalist"}  # what runs may differ in that are one row
_ENDS = {"mean single": "member", "ensemble": "ensemble"}  # and their colours
_PANELS = (("test accuracy", 100), ("test cross_entropy", 1), ("wer", 100))


def write(folder: Path, runs: Sequence[tuple[Mapping[str, str], Path]], seed: int) -> None:
    """Write ``sweep.json``, ``sweep.md`` and ``sweep.png`` into `folder`.

    Where runs have specialists, also the tables of these, see `with_specialists`.

    Args:
        folder: of the sweep.
        runs: of each its swept settings and its work folder.
        seed: of the bootstrap.
    """
    rows = collect(runs)
    with replace_file(folder / JSON_FILE) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    with replace_file(folder / TABLE_FILE) as temporary:
        temporary.write_text(_markdown(rows), encoding="utf-8")
    with replace_file(folder / PICTURE_FILE) as temporary:
        picture(rows).savefig(temporary, dpi=100, format="png", metadata={"Software": None})
    groups = with_specialists(runs)
    if groups:
        specialists.write_pooled(folder, groups, seed)
    else:
        specialists.remove(folder)


def with_specialists(runs: Sequence[tuple[Mapping[str, str], Path]]) -> list[tuple[str, list[Path]]]:
    """Folders of the runs with specialists, together those that differ in a seed or the generalist alone.

    With each group the settings that tell it from others.
    """
    groups: dict[str, list[Path]] = {}
    for swept, work in runs:
        folder = work / "distill" / "frames"
        if (folder / specialists.DATA_FILE).is_file():
            kept = ", ".join(f"`{key}={value}`" for key, value in _apart(swept).items())
            groups.setdefault(kept, []).append(folder)
    return list(groups.items())


def temperature_sweeps(work: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of the sweeps below `work` over a temperature, by name; only those with today's members."""
    found = {}
    for path in sorted((work / "sweeps").glob(f"*/{JSON_FILE}")):
        rows = json.loads(path.read_text(encoding="utf-8"))
        swept = any(_is_temperature(key) for row in rows for key in row["swept"])
        if swept and _same_members(path.parent, work):
            found[path.parent.name] = rows
    return found


def _is_temperature(setting: str) -> bool:
    return setting.rsplit(".", maxsplit=1)[-1] == "temperature"


def _same_members(folder: Path, work: Path) -> bool:
    """Whether the members of all runs in a sweep's `folder` are those of `work`."""
    ours = {artifact.path.name: artifact.digest for artifact in finished(work / "train")}
    members = [Artifact(manifest.parent) for manifest in folder.glob(f"*/train/member-*/{MANIFEST}")]
    return bool(members) and all(own.digest == ours.get(own.path.name) for own in members)


def collect(runs: Sequence[tuple[Mapping[str, str], Path]]) -> list[dict[str, Any]]:
    """One row a system and combination; runs that differ in a seed or the generalist alone, those of one run
    of the recipe as well, are one row, mean and spread.

    Of a row: ``swept`` (settings without those), ``system``, ``kind``, ``runs`` (how many), ``parameters``;
    by metric, such as ``test accuracy`` or ``wer``, ``value`` and ``spread``.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for swept, work in runs:
        settings = _apart(swept)
        for row in json.loads((work / "distill" / "frames" / DATA_FILE).read_text(encoding="utf-8")):
            key = json.dumps([settings, row["name"]])
            entry = {**row, "swept": settings, "wer": _wer(work, row["runs"])}
            group = groups.setdefault(key, [])
            if entry not in group:  # the very same networks, linked into a run that differs in others
                group.append(entry)
    return [_row(group) for group in groups.values()]


def _apart(swept: Mapping[str, str]) -> dict[str, str]:
    """The settings that tell rows apart."""
    return {key: value for key, value in swept.items() if key.split(".")[-1] not in _ALIKE}


def _wer(work: Path, systems: Sequence[str]) -> list[float]:
    """The test WER of some systems, where the run has a report of today's models; else none."""
    path = work / "report" / "report.json"
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    if not _is_of_today(report, work):
        return []
    known = {one["name"]: one for one in report["systems"]}
    return [known[name]["metrics"]["test"]["wer"] for name in systems if name in known]


def _is_of_today(report: Mapping[str, Any], work: Path) -> bool:
    """Whether the members and students of a report are those that lie there now."""
    fingerprints = report["provenance"]["fingerprints"]
    models = {
        work / path: digest
        for path, digest in fingerprints.items()
        if path.startswith(("train/", "distill/"))
    }
    return all(
        (path / MANIFEST).is_file() and Artifact(path).digest == digest for path, digest in models.items()
    )


def _row(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = group[0]
    row = {key: first[key] for key in ("swept", "kind", "parameters")}
    row |= {"system": first["name"], "runs": sum(len(one["runs"]) for one in group)}
    for part in ("dev", "test"):
        for metric in METRICS:
            row[f"{part} {metric}"] = _spread([run for one in group for run in one[part][metric]["runs"]])
    for metric in METRICS:
        closed = [one["test"].get("gap_closed", {}).get(metric) for one in group]
        row[f"gap {metric}"] = _spread([one["value"] for one in closed]) if None not in closed else None
    rates = [rate for one in group for rate in one["wer"]]
    row["wer"] = _spread(rates) if all(one["wer"] for one in group) else None
    row["errors"] = _spread([errors for one in group for errors in one["test"]["errors"]])
    return row


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "spread": spread}


_COLUMNS = (
    ("dev accuracy", "dev accuracy %", 100, 2),
    ("test accuracy", "test accuracy %", 100, 2),
    ("errors", "test errors", 1, 0),
    ("test cross_entropy", "cross entropy", 1, 3),
    ("test calibrated", "at tuned T", 1, 3),
    ("gap accuracy", "gap closed %: accuracy", 100, 0),
    ("gap cross_entropy", "cross entropy", 100, 0),
    ("wer", "WER %", 100, 2),
)


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """All students and controls by combination; the members and the ensemble once where they are the same."""
    settings = list(dict.fromkeys(key for row in rows for key in row["swept"]))
    columns = [column for column in _COLUMNS if any(row[column[0]] for row in rows)]
    header = [*(key.split(".")[-1] for key in settings), "system", "runs", "parameters"]
    header += [title for _, title, _, _ in columns]
    lines = [f"| {' | '.join(header)} |", "|" + "--:|" * len(header)]
    for row in _once(rows):
        cells = [*(row["swept"].get(key, "") for key in settings), row["system"], str(row["runs"])]
        cells.append(f"{row['parameters']:,}")
        cells += [_cell(row[key], scale, digits) for key, _, scale, digits in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["# Sweep", "", *(f"- `{key}`" for key in settings), "", *lines, ""])


def _once(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows whose figures do not depend on some swept setting are shown once, without its values."""
    shown: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        figures = json.dumps([value for key, value in row.items() if key not in {"swept", "runs"}])
        known = shown.get(figures)
        swept = row["swept"]
        common = {k: v for k, v in known["swept"].items() if swept.get(k) == v} if known else swept
        shown[figures] = {**(known or row), "swept": common}
    return list(shown.values())


def _cell(metric: Mapping[str, Any] | None, scale: float, digits: int) -> str:
    if metric is None:
        return ""
    spread = f" ± {scale * metric['spread']:.{digits}f}" if metric["spread"] is not None else ""
    return f"{scale * metric['value']:.{digits}f}{spread}"


def picture(rows: Sequence[Mapping[str, Any]], width: float | None = None) -> Figure:
    """Students on test over one swept setting, a line for each value of the others; members and ensemble
    too, where they change with it.

    Args:
        rows: from `collect`.
        width: in inches, of panels below each other; none: side by side.
    """
    panels = [(metric, scale) for metric, scale in _PANELS if any(row[metric] for row in rows)]
    count = len(panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.4 + 2.4 * count) if width else (5 * count, 4), layout="constrained")
        places = figure.subplots(*((count, 1) if width else (1, count)), squeeze=False).flat
        for axes, (metric, scale) in zip(places, panels, strict=True):
            _draw_panel(axes, rows, metric, scale)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if handles and width:
            figure.axes[0].legend(fontsize="small")
        elif handles:  # there may be no student
            figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    return figure


def _draw_panel(axes: Any, rows: Sequence[Mapping[str, Any]], metric: str, scale: float) -> None:
    settings = list(dict.fromkeys(key for row in rows for key in row["swept"])) or ["system"]
    first = next((key for key in settings if _is_temperature(key)), settings[0])
    constant = _constant_ends(rows, metric)
    drawn = [
        row
        for row in rows
        if row["kind"] in {"student", "control"} or (row["system"] in _ENDS and row["system"] not in constant)
    ]
    values = list(dict.fromkeys(row["swept"].get(first, "") for row in drawn))
    lines: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in drawn:
        swept = {key: value for key, value in row["swept"].items() if key != first}
        others = ", ".join(f"{key.split('.')[-1]} {swept[key]}" for key in settings if key in swept)
        lines.setdefault((row["system"], others), []).append(row)
    # Of a lone student a colour tells the settings, and its controls are broken lines of the same colour.
    alone = len({row["system"] for row in drawn if row["kind"] == "student"}) == 1
    controls = dict.fromkeys(row["system"] for row in drawn if row["kind"] == "control")
    broken = dict(zip(controls, cycle(("--", "-.", (0, (1, 1)))), strict=False))
    colours: dict[Any, str] = {}
    for (system, others), line in lines.items():
        hue = others if alone else (system, others)
        own = None if others else _ENDS.get(system)
        colour = own or colours.setdefault(hue, STUDENTS[len(colours) % len(STUDENTS)])
        points = {row["swept"].get(first, ""): row[metric] for row in line if row[metric] is not None}
        axes.errorbar(
            [values.index(value) for value in points],
            [scale * point["value"] for point in points.values()],
            [scale * (point["spread"] or 0.0) for point in points.values()],
            marker="" if system in broken else "s" if system in _ENDS else "o",
            linestyle=broken.get(system, "-"),
            capsize=3,
            label=", ".join(filter(None, (system, others))),
            color=LIGHT[colour],
        )
    for name, height in constant.items():
        axes.axhline(scale * height, color=LIGHT[_ENDS[name]], linestyle=":", label=name)
    axes.set_xticks(range(len(values)), values)
    axes.set(xlabel=first, ylabel=f"{metric.replace('_', ' ')}{' (%)' if scale == 100 else ''}")


def _constant_ends(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """The mean single and the ensemble where they are the same in all runs."""
    heights = {
        name: {row[metric]["value"] for row in rows if row["system"] == name and row[metric]}
        for name in _ENDS
    }
    return {name: found.pop() for name, found in heights.items() if len(found) == 1}
