import numpy as np
import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.models.metrics import FrameMetrics, frame_metrics


def test_counts_by_hand() -> None:
    posteriors = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    metrics = frame_metrics(np.log(posteriors + 1e-300), np.array([0, 2, 2, -1], np.int32))
    assert (metrics.correct, metrics.frames) == (2, 3)
    assert metrics.summed_cross_entropy == pytest.approx(-np.log([0.5, 0.1, 0.6]).sum())
    assert metrics.accuracy == pytest.approx(2 / 3)


def test_no_frames_count() -> None:
    metrics = frame_metrics(torch.zeros(2, 3), torch.tensor([-1, -1]))
    assert metrics == FrameMetrics(0, 0.0, 0)
    assert np.isnan(metrics.accuracy) and np.isnan(metrics.cross_entropy)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AsrKdError, match="label 3 is not one of 3 senones"):
        frame_metrics(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(AsrKdError, match="1 labels for 2 frames"):
        frame_metrics(torch.zeros(2, 3), torch.tensor([1]))
