"""What every step of compression costs: a table and a picture."""

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


def render_pareto(content: Mapping[str, Any]) -> str:
    """``deployed.md``: every system's size, quality and speed, then the recognisers as they are shipped."""
    # Of other parts of test: each rate stands beside the words that it counts.
    decoded, measured = content["pareto"][0]["words"], content["systems"][0]["words"]
    quality = _table(
        ("system", "parameters", "weights, bytes", "frame accuracy %", "cross entropy",
         f"WER %, {decoded:,} words",
         "RTF of networks", "RTF end to end", "RTF as shipped", f"WER % as shipped, {measured:,} words"),
        [
            (
                point["system"],
                f"{point['parameters']:,}",
                f"{point['bytes']:,}",
                _percent(point["frame_accuracy"]),
                "-" if point["cross_entropy"] is None else f"{point['cross_entropy']:.3f}",
                _percent(point["wer"]),
                _factor(point["acoustic_rtf"]),
                _factor(point["torch_rtf"]),
                _factor(point["deployed_rtf"]),
                _percent(point["deployed_wer"]),
            )
            for point in content["pareto"]
        ],
    )  # fmt: skip
    speed = _table(
        ("system", "threads", f"WER %, {measured:,} words", "RTF (quartiles)", "times real time", "network",
         "search", "utterance ms p50 / p90 / p99", "latency ms p50 / p90 / p99", "first words s", "memory MB",
         "folder MB"),
        [_speed_row(row) for row in content["systems"]],
    )  # fmt: skip
    machine = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"""# Exported systems

## Size, quality, speed

{quality}

Quality is that of stage decode on the whole test part, where every speaker's mean and variance are known
beforehand. The first two real-time factors are of the same systems: 8-bit networks in ONNX Runtime, all others
in torch. As shipped a recogniser knows nothing of the speaker; its WER is that of the measured passes.

## As shipped

{speed}

{content["utterances"]} utterances of the {content["part"]} part, {content["audio_seconds"]:.0f} s, language model {content["lm"]};
{content["passes"]} passes, interleaved, after one that does not count. Real-time factor: wall time by audio time, audio in
memory to words. Latency: from the last samples of a stream to its final words. First words: from the start of
Python to the words of a file of about 3 s. Memory: the most that this process held.

{machine["processor"]} ({machine["architecture"]}, {machine["cores"]} cores, load {machine["load_average"]:.1f}), {machine["measured"]};
{versions}
"""  # noqa: E501


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
        line = {"arrowstyle": "-", "color": "lightgrey", "shrinkA": 0.0, "relpos": (0.0, 0.5)}
        axes.annotate(
            name,
            place,
            xytext=(5, height),
            textcoords="offset points",
            fontsize=8,
            arrowprops=line if height in _FAR else None,
        )


def _speed_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    rtf, fresh = row["rtf"], row.get("fresh_process")
    total = rtf["total"]
    return (
        row["system"],
        str(row["threads"]),
        _percent(row["wer"]),
        f"{total['median']:.4f} ({total['low']:.4f} - {total['high']:.4f})",
        f"{row['times_real_time']:.0f}",
        *(f"{rtf[phase]['median']:.4f}" if phase in rtf else "-" for phase in ("acoustic", "search")),
        *(_milliseconds(row[key]) for key in ("utterance_seconds", "latency_seconds")),
        f"{fresh['first_words_seconds']:.2f}" if fresh else "-",
        f"{fresh['peak_memory_bytes'] / 1e6:.0f}" if fresh else "-",
        f"{row['bytes']['total'] / 1e6:.1f}" if "bytes" in row else "-",
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _milliseconds(values: Mapping[str, float] | None) -> str:
    return "-" if values is None else " / ".join(f"{1000 * value:.0f}" for value in values.values())
