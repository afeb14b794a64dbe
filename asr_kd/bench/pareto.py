"""What every step of compression costs: the table."""

from collections.abc import Mapping, Sequence
from typing import Any


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
