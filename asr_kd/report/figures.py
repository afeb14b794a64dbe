"""The pictures of the report."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from scipy.cluster.hierarchy import leaves_list, linkage

from asr_kd.report.headline import is_clear, taught_students
from asr_kd.report.sweep import picture as sweep_picture
from asr_kd.report.theme import LIGHT, STYLE, system_colours

WIDTH = 5.4  # inches: about the width of a phone when lettering is as large as text
# Beginnings of captions, by the place of their figures in the page.
DIFFERENCES, CONFUSED_PHONES, CURVES = "What is lost", "Confused phones", ("Training", "Temperature")
NAME_ROOM = 2.1  # by so much a name reaches right of its point, as a factor of the real-time factor
_LEADER = {  # from the left end of a name to its point
    "arrowstyle": "-",
    "relpos": (0, 0.5),
    "color": LIGHT["muted"],
    "linewidth": 0.5,
    "shrinkA": 1,
    "shrinkB": 3,
}
_INTERVALS = "95 % intervals by utterance (thick) and by speaker (thin)"
MOST_PHONES = 48  # of a picture of what is confused: more cannot be read


def figures(report: Mapping[str, Any], models: Mapping[str, Path]) -> dict[str, tuple[str, Figure]]:
    """The pictures that there is data for.

    Args:
        report: the content of ``report.json``.
        models: the folders of the systems that are one network, by name; some have training logs.

    Returns:
        Names (for files) and figures by their captions, in the order of the report.
    """
    logs = {name: log for name, folder in models.items() if (log := _read_log(folder))}
    with mpl.rc_context(STYLE):
        drawn = {
            f"{DIFFERENCES} and what is not": ("differences", _differences(report)),
            "Word error rates": ("wer", _error_rates(report)),
            "Accuracy against speed": ("speed", _speed(report)),
            "Training": ("training", _training(report, logs)),
            "Temperature": ("temperature", _temperature(report)),
        }
        for number, (name, rows) in enumerate(report["temperature_sweeps"].items()):
            drawn[f"Temperature: sweep {name}"] = f"temperature-sweep-{number}", sweep_picture(rows, WIDTH)
        phones = alike_together(own["pairs"] for own in report["confused_phones"].values())
        for number, (name, own) in enumerate(report["confused_phones"].items()):
            figure = _confused_phones(own["pairs"], phones, _colours(report)[name])
            drawn[f"{CONFUSED_PHONES}: {name}"] = f"phones-{number}", figure
    return {caption: (name, figure) for caption, (name, figure) in drawn.items() if figure is not None}


def write_pictures(folder: Path, drawn: Mapping[str, tuple[str, Figure]]) -> dict[str, str]:
    """Write PNG files for ``report.md``; returns their names by caption."""
    files = {}
    for caption, (name, figure) in drawn.items():
        files[caption] = f"{name}.png"
        with mpl.rc_context(STYLE):
            figure.savefig(folder / files[caption], dpi=130, facecolor="white")
    return files


def _differences(report: Mapping[str, Any]) -> Figure | None:
    """Test WER against the ensemble (where there is none: the mean single network), paired, in points."""
    against_mean = [] if report["pairs"] else report["comparisons"]
    rows = [*report["pairs"], *against_mean, *report["compressed"]]
    if not rows:
        return None
    places = range(len(rows))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colour = _colours(report)
    axes.axvline(0, color=LIGHT["ensemble" if report["pairs"] else "member"], linestyle=":", zorder=0)
    for place, row in zip(places, rows, strict=True):
        own = colour[row["system"]]
        _plot_intervals(axes, place, row, own)
        axes.plot(
            100 * row["difference"]["value"],
            place,
            "o",
            color=own,
            markerfacecolor=own if is_clear(row) else "none",
        )
    axes.set_yticks(places, [row["system"] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for side, text, where in ((-1, "fewer errors", "right"), (1, "more errors", "left")):
        axes.annotate(
            text,
            (0, 1),
            (6 * side, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=where,
            color=LIGHT["muted"],
        )
    baseline = rows[0]["baseline"].replace("mean_single", "mean single network")
    axes.set_xlabel(f"test WER minus that of the {baseline}, points; filled: distinguishable\n{_INTERVALS}")
    return figure


def _plot_intervals(axes: Axes, place: int, row: Mapping[str, Any], colour: str) -> None:
    """Those by utterance and by speaker at a height, in percent."""
    for unit, width in (("speaker", 1), ("utterance", 3)):
        if interval := row[f"by_{unit}"]:
            axes.plot([100 * interval[end] for end in ("low", "high")], [place] * 2, color=colour, lw=width)


def _error_rates(report: Mapping[str, Any]) -> Figure:
    """Test WER of every system, in percent, with its interval."""
    systems, colour = report["systems"], _colours(report)
    figure = Figure(figsize=(WIDTH, 1.0 + 0.28 * len(systems)), layout="constrained")
    axes = figure.subplots()
    for place, system in enumerate(systems):
        metrics = system["metrics"]["test"]
        _plot_intervals(axes, place, metrics, colour[system["name"]])
        axes.plot(100 * metrics["wer"], place, "o", color=colour[system["name"]])
    mean = 100 * report["mean_single"]["metrics"]["test"]["wer"]
    axes.axvline(mean, color=LIGHT["member"], linestyle=":", zorder=0)
    axes.annotate(
        "mean single",
        (mean, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        color=LIGHT["member"],
    )
    axes.set_yticks(range(len(systems)), [system["name"] for system in systems])
    axes.invert_yaxis()
    axes.set_xlabel(f"test WER in % ({report['lm']})\n{_INTERVALS}")
    return figure


def _training(report: Mapping[str, Any], logs: Mapping[str, list[dict[str, Any]]]) -> Figure | None:
    """Cross entropy and frame accuracy on dev by epoch."""
    if not logs:
        return None
    measures = [("dev_cross_entropy", 1, "dev cross entropy a frame")]
    if all("dev_frame_accuracy" in line for log in logs.values() for line in log):
        measures.append(("dev_frame_accuracy", 100, "dev frame accuracy in %"))
    figure = Figure(figsize=(WIDTH, 0.4 + 2.4 * len(measures)), layout="constrained")
    panels = figure.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
    colour = _colours(report)
    kinds = {system["name"]: system["kind"] for system in report["systems"]}
    members = [name for name in logs if kinds[name] == "member"]
    for axes, (key, factor, label) in zip(panels, measures, strict=True):
        for name, log in logs.items():
            epochs, values = [line["epoch"] for line in log], [factor * line[key] for line in log]
            if name in members:  # all alike, and told apart from students
                legend = "members" if name == members[0] else None
                axes.plot(epochs, values, color=colour[name], linewidth=1, label=legend)
            else:
                axes.plot(epochs, values, color=colour[name], marker="o", markersize=4, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(label)
    panels[-1].set_xlabel("epoch")
    panels[0].legend(loc="upper right")
    return figure


def _temperature(report: Mapping[str, Any]) -> Figure | None:
    """Test WER and frame accuracy of students by the temperature of their soft targets."""
    settings = report["provenance"]["settings"]["distill"]["students"]
    students = taught_students(report)  # a control has no temperature
    if len({settings[system["name"]]["temperature"] for system in students}) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    rates, accuracies = figure.subplots(2, sharex=True)
    colour = _colours(report)
    for system in students:
        metrics, temperature = system["metrics"]["test"], settings[system["name"]]["temperature"]
        rates.plot([temperature] * 2, _ends(metrics), color=colour[system["name"]], linewidth=2)
        rates.plot(temperature, 100 * metrics["wer"], "o", color=colour[system["name"]], label=system["name"])
        if metrics["frame_accuracy"] is not None:
            accuracies.plot(temperature, 100 * metrics["frame_accuracy"], "o", color=colour[system["name"]])
    rates.set_ylabel("test WER in %, 95 % interval")
    rates.legend()
    accuracies.set_ylabel("test frame accuracy in %")
    accuracies.set_xlabel("temperature")
    return figure


def _speed(report: Mapping[str, Any]) -> Figure | None:
    """Test WER, with its interval, against the real-time factor from audio to words."""
    measured = [system for system in report["systems"] if "rtf" in system]
    if not measured:
        return None
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    colour = _colours(report)
    points = {}
    for system in measured:
        metrics, x = system["metrics"]["test"], system["rtf"]["total"]
        points[system["name"]] = (x, 100 * metrics["wer"])
        own = colour[system["name"]]
        axes.plot([x, x], _ends(metrics), color=own, linewidth=1, alpha=0.5)
        axes.plot(*points[system["name"]], "o", color=own)
    axes.set_xscale("log")
    fastest, slowest = (end(x for x, _ in points.values()) for end in (min, max))
    axes.set_xlim(fastest / 1.25, slowest * 2.2)  # room for the names
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    _name_points(axes, points)
    processor, threads = report["bench"]["processor"], report["bench"]["threads"]
    axes.set_xlabel(f"real-time factor, audio to words, {processor}, {threads} thread{'s' * (threads > 1)}")
    axes.set_ylabel("test WER in %, 95 % interval")
    return figure


def _name_points(axes: Any, points: Mapping[str, tuple[float, float]]) -> None:
    """Write names right of points; those of close points stand below each other, with lines to them."""
    gap = 0.065 * (axes.get_ylim()[1] - axes.get_ylim()[0])
    groups: list[list[str]] = []
    for name in sorted(points, key=lambda name: points[name]):
        if groups and points[name][0] < NAME_ROOM * points[groups[-1][-1]][0]:
            groups[-1].append(name)
        else:
            groups.append([name])
    for group in groups:
        ordered = sorted(group, key=lambda name: points[name][1])
        right = 1.08 * max(points[name][0] for name in group)
        for name, height in zip(ordered, apart([points[name][1] for name in ordered], gap), strict=True):
            axes.annotate(name, points[name], xytext=(right, height), va="center", arrowprops=_LEADER)


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Rising heights moved apart until they are `gap` from each other, around where they were."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    shift = float(np.mean(moved) - np.mean(heights))
    return [height - shift for height in moved]


def _colours(report: Mapping[str, Any]) -> dict[str, str]:
    names = system_colours({system["name"]: system["kind"] for system in report["systems"]})
    return {system: LIGHT[name] for system, name in names.items()}


def alike_together(pairs: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The most confused phones, those that are confused with each other side by side.

    Args:
        pairs: of every system rows with ``label``, ``found`` (phones) and ``frames``.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for rows in pairs:
        for row in rows:
            if row["label"] != row["found"]:
                counts[row["label"], row["found"]] += row["frames"]
    often: Counter[str] = Counter()
    for (label, found), frames in counts.items():
        often[label] += frames
        often[found] += frames
    phones = sorted(sorted(often), key=lambda phone: -often[phone])[:MOST_PHONES]
    if len(phones) < 3:
        return phones
    both = np.array([[counts[one, other] + counts[other, one] for other in phones] for one in phones])
    distances = 1 / (1 + both[np.triu_indices(len(phones), 1)])
    return [phones[place] for place in leaves_list(linkage(distances, "average", optimal_ordering=True))]


def _confused_phones(pairs: Sequence[Mapping[str, Any]], phones: Sequence[str], colour: str) -> Figure:
    """A Hinton diagram: a square for every pair of different phones, its area the number of frames."""
    place = {phone: number for number, phone in enumerate(phones)}
    known = [pair for pair in pairs if pair["label"] in place and pair["found"] in place]
    shown = [pair for pair in known if pair["label"] != pair["found"]]
    most = max((pair["frames"] for pair in shown), default=1)
    squares = []
    for pair in shown:
        side = (pair["frames"] / most) ** 0.5
        corner = (place[pair["found"]] - side / 2, place[pair["label"]] - side / 2)
        squares.append(Rectangle(corner, side, side))
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.subplots()
    axes.add_collection(PatchCollection(squares, facecolor=colour, edgecolor="none"))
    axes.set_xticks(range(len(phones)), phones, rotation=90, fontsize=7)
    axes.set_yticks(range(len(phones)), phones, fontsize=7)
    axes.tick_params(length=0)
    axes.set(xlim=(-0.7, len(phones) - 0.3), ylim=(len(phones) - 0.3, -0.7), aspect="equal")
    axes.set(xlabel="phone found", ylabel="phone of the label")
    return figure


def _ends(metrics: Mapping[str, Any]) -> list[float]:
    """Of the interval of a WER in percent; where there is none, the rate itself."""
    interval = metrics["interval"] or {"low": metrics["wer"], "high": metrics["wer"]}
    return [100 * interval["low"], 100 * interval["high"]]


def _read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a network's training log that measure dev."""
    path = folder / "log.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "dev_cross_entropy" in line]
