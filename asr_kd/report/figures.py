"""The pictures of the report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asr_kd.report.headline import taught_students
from asr_kd.report.theme import LIGHT, STYLE, system_colours

WIDTH = 5.4  # inches: about the width of a phone when lettering is as large as text


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
            "Word error rates": ("wer", _error_rates(report)),
            "Accuracy against speed": ("speed", _speed(report)),
            "Training": ("training", _training(report, logs)),
            "Temperature": ("temperature", _temperature(report)),
        }
    return {caption: (name, figure) for caption, (name, figure) in drawn.items() if figure is not None}


def write_pictures(folder: Path, drawn: Mapping[str, tuple[str, Figure]]) -> dict[str, str]:
    """Write PNG files for ``report.md``; returns their names by caption."""
    files = {}
    for caption, (name, figure) in drawn.items():
        files[caption] = f"{name}.png"
        with mpl.rc_context(STYLE):
            figure.savefig(folder / files[caption], dpi=130, facecolor="white")
    return files


def _error_rates(report: Mapping[str, Any]) -> Figure:
    """Test WER of every system, in percent, with its interval."""
    systems, colour = report["systems"], _colours(report)
    figure = Figure(figsize=(WIDTH, 1.0 + 0.28 * len(systems)), layout="constrained")
    axes = figure.subplots()
    for place, system in enumerate(systems):
        metrics = system["metrics"]["test"]
        axes.plot(_ends(metrics), [place, place], color=colour[system["name"]], linewidth=2)
        axes.plot(100 * metrics["wer"], place, "o", color=colour[system["name"]])
    mean = 100 * report["mean_single"]["metrics"]["test"]["wer"]
    axes.axvline(mean, color=LIGHT["member"], linestyle=":", label="mean single", zorder=0)
    axes.set_yticks(range(len(systems)), [system["name"] for system in systems])
    axes.invert_yaxis()
    axes.set_xlabel(f"test WER in %, 95 % interval ({report['lm']})")
    axes.legend(loc="lower right")
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
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    colour = _colours(report)
    for place, system in enumerate(sorted(measured, key=lambda system: system["rtf"]["total"])):
        metrics, x = system["metrics"]["test"], system["rtf"]["total"]
        y = 100 * metrics["wer"]
        axes.plot([x, x], _ends(metrics), color=colour[system["name"]], linewidth=2)
        axes.plot(x, y, "o", color=colour[system["name"]])
        # In turn above and below: systems of one size are equally fast.
        offset = (6, -12 if place % 2 else 4)
        axes.annotate(system["name"], (x, y), xytext=offset, textcoords="offset points")
    threads = report["provenance"]["settings"]["bench"]["threads"]
    axes.margins(x=0.25)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"real-time factor, audio to words, {threads} thread(s)")
    axes.set_ylabel("test WER in %, 95 % interval")
    return figure


def _colours(report: Mapping[str, Any]) -> dict[str, str]:
    names = system_colours({system["name"]: system["kind"] for system in report["systems"]})
    return {system: LIGHT[name] for system, name in names.items()}


def _ends(metrics: Mapping[str, Any]) -> list[float]:
    return [100 * metrics["interval"]["low"], 100 * metrics["interval"]["high"]]


def _read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a network's training log that measure dev."""
    path = folder / "log.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "dev_cross_entropy" in line]
