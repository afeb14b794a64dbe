import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from asr_kd.bench import training
from asr_kd.bench.training import DIMS, measure, synthetic_data, update_operations
from asr_kd.config import OptimiserConfig
from asr_kd.models import build
from asr_kd.training.loader import Batch
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import DistillationObjective
from asr_kd.training.stacked import compute_alone, compute_stacked
from tests.bench.clock import Clock

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


def test_speeds_are_of_updates_with_their_data(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    gather, product = trainer.loader.epoch, clock.taking(0.5, lambda: None)

    def epoch(number: int) -> Iterator[Batch]:
        for batch in islice(gather(number), 4):
            clock.now += 1.0
            yield batch

    monkeypatch.setattr(training, "perf_counter", clock)
    monkeypatch.setattr(training, "_matrix_product", lambda *_: product)
    monkeypatch.setattr(training, "_copy_seconds", lambda _: 0.1)
    monkeypatch.setattr(trainer.loader, "epoch", epoch)
    speed = measure([trainer], clock.taking(3.0, compute_alone), updates=5)
    operations = update_operations(trainer.model, next(gather(0)))
    assert speed.frames_a_second == pytest.approx(64 / 4.0)
    assert speed.gigaflops == pytest.approx(operations / 4.0 / 1e9)
    assert speed.peak_gigaflops == pytest.approx(2 * 1024**3 / 0.5 / 1e9)
    assert speed.gigabytes == pytest.approx(8.0)
    assert speed.share_of_peak == pytest.approx(operations / (8 * 2 * 1024**3))


def test_stacked_networks_count_as_many(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(training, "perf_counter", clock)
    monkeypatch.setattr(training, "_matrix_product", lambda *_: clock.taking(0.5, lambda: None))
    monkeypatch.setattr(training, "_copy_seconds", lambda _: 0.1)
    speed = measure([trainer, trainer], clock.taking(3.0, compute_stacked), updates=2)
    operations = update_operations(trainer.model, next(iter(trainer.loader.epoch(0))))
    assert speed.frames_a_second == pytest.approx(2 * 64 / 3.0)
    assert speed.gigaflops == pytest.approx(2 * operations / 3.0 / 1e9)


def test_what_is_printed_is_what_a_plan_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--senones=20", "--batch-frames=64", "--updates=2", "--processes=2"]
    monkeypatch.setattr("sys.argv", ["training", *small, "--profile"])
    training.main()
    found = capsys.readouterr().out
    assert "2 x 1 threads" in found and "% of the matrix product's peak" in found
    assert found.count("Self CPU time total") == 2  # a profile of each
    assert re.search(r"asr-kd plan teraflops=[\d.e-]+ share=[\d.]+ terabytes=[\d.e-]+\n", found)
