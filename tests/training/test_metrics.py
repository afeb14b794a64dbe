import numpy as np
import pytest
import torch

from asr_kd.training.metrics import evaluate
from tests.training.toy import SENONES, toy_data


def test_a_part_is_counted_by_frames_and_not_by_utterances() -> None:
    data = toy_data(failed=1)
    uniform = evaluate(lambda frames: torch.zeros(len(frames), SENONES).log_softmax(1), data)
    assert uniform.cross_entropy == pytest.approx(np.log(SENONES))
    labels = data.targets["labels"].array
    assert uniform.frames == (labels >= 0).sum()
    assert uniform.correct == (labels == 0).sum()
