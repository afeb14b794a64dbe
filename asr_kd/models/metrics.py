"""Frame accuracy and cross entropy of posteriors."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError


class FrameMetrics(NamedTuple):
    """Sums over frames with a label; those of two parts can be added with `plus`.

    Attributes:
        correct: frames whose most probable senone is the label.
        summed_cross_entropy: in nats.
        frames: how many count.
    """

    correct: int
    summed_cross_entropy: float
    frames: int

    @property
    def accuracy(self) -> float:
        """Correct frames over counted frames, 0 to 1; NaN without frames."""
        return self.correct / self.frames if self.frames else float("nan")

    @property
    def cross_entropy(self) -> float:
        """Nats a frame; NaN without frames."""
        return self.summed_cross_entropy / self.frames if self.frames else float("nan")

    def plus(self, other: "FrameMetrics") -> "FrameMetrics":
        """The metrics of both sets of frames together."""
        return FrameMetrics(
            self.correct + other.correct,
            self.summed_cross_entropy + other.summed_cross_entropy,
            self.frames + other.frames,
        )


def frame_metrics(log_posteriors: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> FrameMetrics:
    """Count one utterance, or any other run of frames.

    Args:
        log_posteriors: ``(frames, senones)``.
        labels: ``(frames,)`` integers; -1: the frame does not count.

    Raises:
        AsrKdError: another number of labels than frames, or a label that is not a senone.
    """
    log_posteriors = torch.as_tensor(log_posteriors)
    labels = torch.as_tensor(np.array(labels) if isinstance(labels, np.ndarray) else labels)
    labels = labels.to(log_posteriors.device, torch.int64)
    if len(labels) != len(log_posteriors):
        raise AsrKdError(f"{len(labels)} labels for {len(log_posteriors)} frames; run stage align again")
    counted = labels >= 0
    scores, labels = log_posteriors[counted], labels[counted]
    if len(labels) and int(labels.max()) >= scores.size(1):
        raise AsrKdError(
            f"label {int(labels.max())} is not one of {scores.size(1)} senones; "
            "labels and model come from different alignments: train again"
        )
    correct = int((scores.argmax(1) == labels).sum())
    cross_entropy = -float(scores.gather(1, labels[:, None]).sum(dtype=torch.float64))
    return FrameMetrics(correct, cross_entropy, len(labels))
