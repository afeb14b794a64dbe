"""The picture of what every step of compression costs."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = {
    "member": "tab:blue",
    "ensemble": "tab:green",
    "student": "tab:red",
    "pruned": "tab:orange",
    "int8": "tab:purple",
}
_COSTS = (("bytes", "bytes of weights"), ("acoustic_rtf", "real-time factor of the networks, one thread"))
_LOSSES = (("cross_entropy", 1.0, "test cross entropy a frame"), ("wer", 100.0, "test WER in %"))
_LETTER, _LINE = 4.8, 9.0  # width of a letter and height of a line of names, in points
# Of names above their points, best first; one of `_FAR` has a line to its point.
_HEIGHTS = tuple(height for step in range(25) for height in (3.0 + 10 * step, -8.0 - 10 * step))
_FAR = _HEIGHTS[4:]


def draw_pareto(path: Path, points: Sequence[Mapping[str, Any]]) -> None:
    """Cross entropy and WER against the bytes of the weights, and against the time that networks take."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    grid = figure.subplots(2, 2, sharex="row", sharey="col")
    first_member = next((point for point in points if point["kind"] == "member"), None)
    names: list[tuple[Axes, str, tuple[float, float]]] = []
    for (row, (cost, cost_label)), (column, (loss, scale, loss_label)) in product(
        enumerate(_COSTS), enumerate(_LOSSES)
    ):
        axes = grid[row][column]
        for point in points:
            if point[cost] is None or point[loss] is None:
                continue
            place = (point[cost], scale * point[loss])
            axes.plot(*place, "o", color=_COLOURS[point["kind"]])
            if point["kind"] != "member" or point is first_member:  # the others lie about it
                names.append((axes, point["system"], place))
        axes.set_xscale("log")
        axes.margins(x=0.25, y=0.1)
        axes.set_xlabel(cost_label)
        axes.set_ylabel(loss_label)
    figure.draw_without_rendering()  # from here on it is known where in the picture a point lies
    for axes in grid.flat:
        _write_names(axes, [(name, place) for owner, name, place in names if owner is axes])
    figure.savefig(path)


def _write_names(axes: Axes, names: Sequence[tuple[str, tuple[float, float]]]) -> None:
    """Write names beside their points, above or below where there is room."""
    pixels = axes.figure.dpi / 72.0  # of a point, the unit of letters
    taken: list[tuple[float, float, float]] = []  # left and right end and height of names
    for name, place in names:
        left, middle = axes.transData.transform(place)
        right = left + _LETTER * len(name) * pixels
        beside = [line for begin, end, line in taken if left < end and begin < right]
        inside = axes.bbox.y0, axes.bbox.y1 - _LINE * pixels
        lines = {height: middle + height * pixels for height in _HEIGHTS}
        free = (
            height
            for height, line in lines.items()
            if inside[0] < line < inside[1] and all(abs(line - other) >= _LINE * pixels for other in beside)
        )
        height = next(free, _HEIGHTS[0])
        taken.append((left, right, lines[height]))
        leader = {"arrowstyle": "-", "color": "lightgrey", "shrinkA": 0.0, "relpos": (0.0, 0.5)}
        axes.annotate(
            name,
            place,
            xytext=(5, height),
            textcoords="offset points",
            fontsize=8,
            arrowprops=leader if height in _FAR else None,
        )
