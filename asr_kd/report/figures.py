"""The pictures of the report."""

import json
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLOURS = {"gmm": "tab:gray", "member": "tab:blue", "ensemble": "tab:green", "student": "tab:red"}
_STUDENT_COLOURS = ("tab:red", "tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:olive")


def draw(folder: Path, report: Mapping[str, Any], work: Path) -> dict[str, str]:
    """Write the pictures that there is data for.

    Args:
        folder: where to.
        report: the content of ``report.json``.
        work: with the training logs.

    Returns:
        File names by caption, in the order of the report.
    """
    logs = {
        system["name"]: log
        for system in report["systems"]
        if (log := _read_log(work, system["kind"], system["name"]))
    }
    drawn: dict[str, tuple[str, Figure | None]] = {
        "Word error rates": ("wer.png", _error_rates(report)),
        "Training": ("training.png", _training(report, logs)),
        "Accuracy against speed": ("speed.png", _speed(report)),
    }
    pictures = {}
    for caption, (file, figure) in drawn.items():
        if figure is not None:
            figure.savefig(folder / file, dpi=100)
            pictures[caption] = file
    return pictures


def _error_rates(report: Mapping[str, Any]) -> Figure:
    """Test WER of every system, in percent, with its interval."""
    systems = report["systems"]
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(systems)), layout="constrained")
    axes = figure.subplots()
    for place, system in enumerate(systems):
        metrics = system["metrics"]["test"]
        ends = [100 * metrics["interval"]["low"], 100 * metrics["interval"]["high"]]
        colour = _COLOURS[system["kind"]]
        axes.plot(ends, [place, place], color=colour, linewidth=2)
        axes.plot(100 * metrics["wer"], place, "o", color=colour)
    mean = 100 * report["mean_single"]["metrics"]["test"]["wer"]
    axes.axvline(mean, color="tab:blue", linestyle=":", label="mean single")
    axes.set_yticks(range(len(systems)), [system["name"] for system in systems])
    axes.invert_yaxis()
    axes.set_xlabel(f"test WER in %, 95 % interval ({report['lm']})")
    axes.legend(loc="lower right")
    return figure


def _training(report: Mapping[str, Any], logs: Mapping[str, list[dict[str, Any]]]) -> Figure | None:
    """Cross entropy on dev by epoch."""
    if not logs:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    students = cycle(_STUDENT_COLOURS)
    kinds = {system["name"]: system["kind"] for system in report["systems"]}
    for name, log in logs.items():
        epochs = [line["epoch"] for line in log]
        values = [line["dev_cross_entropy"] for line in log]
        if kinds[name] == "member":  # all alike, and told apart from students
            axes.plot(epochs, values, color=_COLOURS["member"], linewidth=1, alpha=0.6, label=name)
        else:
            axes.plot(epochs, values, color=next(students), marker="o", label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("dev cross entropy a frame")
    axes.legend()
    return figure


def _speed(report: Mapping[str, Any]) -> Figure | None:
    """Test WER, with its interval, against the real-time factor from audio to words."""
    measured = [system for system in report["systems"] if "rtf" in system]
    if not measured:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for system in measured:
        metrics, colour = system["metrics"]["test"], _COLOURS[system["kind"]]
        x, y = system["rtf"]["total"], 100 * metrics["wer"]
        ends = [100 * metrics["interval"]["low"], 100 * metrics["interval"]["high"]]
        axes.plot([x, x], ends, color=colour, linewidth=2)
        axes.plot(x, y, "o", color=colour)
        axes.annotate(system["name"], (x, y), xytext=(6, 4), textcoords="offset points")
    threads = report["provenance"]["settings"]["bench"]["threads"]
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"real-time factor, audio to words, {threads} thread(s)")
    axes.set_ylabel("test WER in %, 95 % interval")
    return figure


def _read_log(work: Path, kind: str, name: str) -> list[dict[str, Any]]:
    """The lines of a network's training log that measure dev."""
    path = work / {"member": "train", "student": "distill"}.get(kind, "") / name / "log.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "dev_cross_entropy" in line]
