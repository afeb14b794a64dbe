from pathlib import Path

import pytest
import torch

from asr_kd.bench.training import DIMS, measure, synthetic_data, update_operations
from asr_kd.config import OptimiserConfig
from asr_kd.models import build
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import DistillationObjective

SMALL = {"kind": "dnn", "hidden_layers": 2, "hidden_units": 8, "left_context": 1, "right_context": 1}


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    data = synthetic_data(senones=30)
    settings = OptimiserConfig(batch_frames=64, precision="fp32")
    objective = DistillationObjective(2.0, 1.0, 0.5)
    model = build(SMALL, DIMS, 30)
    return Trainer(model, objective, data, data, settings, 0, torch.device("cpu"), tmp_path, "bench")


def test_operations_are_counted_by_layer_and_pass(trainer: Trainer) -> None:
    batch = next(iter(trainer.loader.epoch(0)))
    first, second, output = 3 * DIMS * 8, 8 * 8, 8 * 30
    expected = 64 * (2 * first * 2 + 2 * second * 3 + 2 * output * 3)
    assert update_operations(trainer.model, batch) == expected


def test_speeds_are_positive_and_consistent(trainer: Trainer) -> None:
    speed = measure(trainer, updates=3)
    assert speed.frames_a_second > 0 and speed.peak_gigaflops > 0
    assert speed.share_of_peak == pytest.approx(speed.gigaflops / speed.peak_gigaflops)
