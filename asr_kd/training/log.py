"""The log of a training: JSON lines for programs, a picture of the curves for people."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr_kd.artifacts import replace_file

LOG_FILE = "log.jsonl"
CURVE_FILE = "curve.png"


def write_log(folder: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write ``log.jsonl``, one epoch a line; see `loop.Trainer` for the keys.

    It holds no times, so that the same training ends in the same bytes.
    """
    with replace_file(folder / LOG_FILE) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def draw_curve(folder: Path, records: Sequence[dict[str, Any]], title: str) -> None:
    """Draw ``curve.png``: by epoch, loss and dev cross entropy, and beside them dev frame accuracy."""
    from matplotlib.figure import Figure  # takes long to load, and is needed last

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in records]
    for key, label in (("train_loss", "training loss"), ("dev_cross_entropy", "dev cross entropy")):
        left.plot(epochs, [record[key] for record in records], marker="o", label=label)
    right.plot(epochs, [100 * record["dev_frame_accuracy"] for record in records], marker="o", color="C2")
    left.set(xlabel="epoch", ylabel="nats per frame", title=title)
    right.set(xlabel="epoch", ylabel="dev frame accuracy (%)")
    left.legend()
    figure.savefig(folder / CURVE_FILE, dpi=100, metadata={"Software": None})
