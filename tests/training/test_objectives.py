"""Objectives of a part of a batch: shares that add up to the mean of all."""

import pytest
import torch
from torch import Tensor

from asr_kd.distillation.tails import TailShape
from asr_kd.training.objectives import DistillationObjective, HardObjective, Objective, SpecialistObjective

FRAMES, SENONES, CLASSES = 23, 12, (1, 4, 5)
SHAPE = TailShape(torch.linspace(-1, 1, SENONES), torch.eye(2, SENONES))


def batch(classes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and targets of some frames, a few of them without a label."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, classes, (FRAMES,), generator=random)
    labels[:9] = -1  # the first part has none
    logits = torch.randn(FRAMES, classes, generator=random, requires_grad=True)
    targets = {
        "labels": labels,
        "ids": torch.rand(FRAMES, SENONES, generator=random).argsort(1)[:, :4],
        "levels": torch.randint(5, 60, (FRAMES, 4), generator=random).to(torch.uint8),
        "log_rest": torch.full((FRAMES,), -1.5),
        "tail": torch.randint(-9, 9, (FRAMES, 2), generator=random).to(torch.int8),
    }
    return logits, targets


@pytest.mark.parametrize(
    ("objective", "classes"),
    [
        (HardObjective(0.1), SENONES),
        (DistillationObjective(2.0, 1.0, 0.5), SENONES),
        (DistillationObjective(2.0, 1.0, 0.5, tail_shape=SHAPE), SENONES),
        (SpecialistObjective(CLASSES, SENONES, soft_rest=0.7), len(CLASSES) + 1),
    ],
)
def test_parts_add_up_to_the_whole(objective: Objective, classes: int) -> None:
    logits, targets = batch(classes)
    whole = objective(logits, targets)
    (gradient,) = torch.autograd.grad(whole, logits)
    total = torch.zeros(())
    for part in (slice(0, 9), slice(9, 14), slice(14, None)):
        own = {name: target[part] for name, target in targets.items()}
        total = total + objective(logits[part], own, targets)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(torch.autograd.grad(total, logits)[0], gradient)
