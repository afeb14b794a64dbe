from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.bench import soft_targets
from asr_kd.bench.soft_targets import Sample, divergences, epoch_ratio, fill
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.frames import FrameIndex
from asr_kd.models import build
from asr_kd.models.storage import save_model
from asr_kd.training.loop import Trainer


def sample(senones: int = 30) -> Sample:
    """Two utterances scored by three members: a plane of two dimensions, and a little beside it."""
    random = torch.Generator().manual_seed(0)
    index = FrameIndex.from_lengths(["a", "b"], ["s", "s"], [7, 4])
    plane = 2 * torch.randn(2, senones, generator=random)
    members = []
    for length in index.lengths.tolist():
        scores = torch.randn(length, 2, generator=random) @ plane
        aside = torch.randn(3, length, senones, generator=random) / 9
        members.append(list((scores + aside).log_softmax(2)))
    return Sample(index, np.zeros((11, 4), np.float16), np.zeros(11, np.int32), members)


def test_divergences_shrink_with_k_and_vanish_for_all_senones(tmp_path: Path) -> None:
    found = []
    for top_k in (2, 10, 29, 30):
        store = fill(tmp_path / str(top_k), sample(), TargetSettings("arithmetic", top_k, (2.0,), 30))
        found.append(divergences(store, sample(), 2.0))
    rests = [one.rest for one in found]
    assert rests == sorted(rests, reverse=True) and rests[-1] == 0
    spread = [one.even for one in found]
    assert spread[:3] == pytest.approx(sorted(spread[:3], reverse=True), abs=1e-4)
    assert max(abs(one.merged) for one in found) < 1e-3  # steps of 1/12 nat
    assert spread[-1] == pytest.approx(0, abs=1e-3)
    assert all(one.shaped == one.even for one in found)


def test_divergence_with_the_rest_spread_evenly_equals_a_dense_sum(tmp_path: Path) -> None:
    store = fill(tmp_path / "targets", sample(), TargetSettings("arithmetic", 5, (2.0,), 30))
    total, members = 0.0, sample().members[1]  # of the utterances that no shape is fitted to
    for frame in range(4):
        mean = np.mean([member[frame].double().exp().numpy() for member in members], 0) ** 0.5
        p = mean / mean.sum()
        order = np.argsort(-p)
        q = p.copy()
        q[order[5:]] = p[order[5:]].mean()
        total += float((p * np.log(p / q)).sum()) / 4
    assert divergences(store, sample(), 2.0).even == pytest.approx(total, abs=2e-3)


def test_a_shape_brings_the_rest_closer(tmp_path: Path) -> None:
    settings = TargetSettings("arithmetic", 5, (2.0,), 30, tail_rank=6)
    found = divergences(fill(tmp_path / "targets", sample(), settings), sample(), 2.0)
    assert found.shaped < 0.6 * found.even


def test_updates_on_targets_and_on_labels_are_timed_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "targets", sample(), TargetSettings("arithmetic", 5, (2.0,), 30))
    (tmp_path / "student").mkdir()
    settings = {"kind": "dnn", "hidden_layers": 1, "hidden_units": 4, "left_context": 1, "right_context": 1}
    save_model(tmp_path / "student", build(settings, 4, 30))
    timed: list[str] = []
    # The machine slows down on the way: the last time of each is the longer one.
    seconds = iter([1.0, 3.0, 10.0, 30.0])

    def update_seconds(trainer: Trainer, updates: int) -> float:
        timed.append(type(trainer.objective).__name__)
        return next(seconds)

    monkeypatch.setattr(soft_targets, "_update_seconds", update_seconds)
    assert epoch_ratio(store, sample(), tmp_path / "student", 2.0, 1) == 3.0
    assert timed == ["HardObjective", "DistillationObjective"] * 2
