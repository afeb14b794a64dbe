"""How good a model is on a whole set of data."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from asr_kd.models.metrics import FrameMetrics, frame_metrics
from asr_kd.training.data import FrameData


def evaluate(log_posteriors: Callable[[Tensor], Tensor], data: FrameData) -> FrameMetrics:
    """Measure a model, or anything else that scores utterances, on all utterances of `data`.

    Args:
        log_posteriors: from ``(frames, dims)`` to ``(frames, senones)``, e.g.
            ``partial(models.inference.log_posteriors, model)``.
        data: features, and the target ``labels``.
    """
    total = FrameMetrics(0, 0.0, 0)
    for utterance_id in data.utterances:
        scores = log_posteriors(torch.from_numpy(np.array(data.features.of(utterance_id))))
        total = total.plus(frame_metrics(scores, data.targets["labels"].of(utterance_id)))
    return total
