"""Both terms at once against the pure functions of `losses`, which are held to sums written out."""

import math

import pytest
import torch
from torch import Tensor

from asr_kd.distillation.joint import TopKTeacher, joint_loss
from asr_kd.distillation.losses import distillation_loss, hard_cross_entropy, top_k_divergence
from asr_kd.distillation.soft_targets import compress

FRAMES, SENONES = 7, 9
LABELS = torch.tensor([3, -1, 0, 8, -1, 2, 2])


def scores(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(FRAMES, SENONES, generator=random, dtype=dtype)


def teacher_of(k: int, temperature: float, tail: bool, stored_at: float = 1.0) -> TopKTeacher:
    ids, values, rest = compress((scores(1) / stored_at).log_softmax(-1), k, [temperature / stored_at])
    shape = scores(2) / temperature if tail else None
    return TopKTeacher(ids, values, rest[..., 0], shape, stored_at)


def composed(
    logits: Tensor,
    labels: Tensor,
    teacher: TopKTeacher,
    temperature: float,
    soft: float,
    hard: float,
    smooth: float,
) -> Tensor:
    ids, values, rest, tail, stored_at = teacher
    divergence = top_k_divergence(logits, ids, values, rest, temperature, stored_at, tail)
    return distillation_loss(divergence, hard_cross_entropy(logits, labels, smooth), temperature, soft, hard)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 20.0])
@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("k", [1, 4, SENONES])
@pytest.mark.parametrize(
    ("soft", "hard", "smooth"), [(1.0, 0.5, 0.0), (0.3, 2.0, 0.1), (1.0, 0.0, 0.0), (0.0, 1.0, 0.1)]
)
def test_loss_and_gradient_are_those_of_both_terms(
    temperature: float, tail: bool, k: int, soft: float, hard: float, smooth: float
) -> None:
    logits = scores(0).requires_grad_()
    weights = (temperature, soft, hard, smooth)
    # The tail is overwritten: each gets one of its own.
    wanted = composed(logits, LABELS, teacher_of(k, temperature, tail), *weights)
    found = joint_loss(logits, LABELS, teacher_of(k, temperature, tail), *weights)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(2 * loss, logits)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_gradients_equal_finite_differences(temperature: float, tail: bool) -> None:
    def loss(logits: Tensor) -> Tensor:
        return joint_loss(logits, LABELS, teacher_of(3, temperature, tail), temperature, 0.7, 0.4, 0.1)

    assert torch.autograd.gradcheck(loss, scores(0).requires_grad_())


@pytest.mark.parametrize("tail", [False, True])
def test_a_teacher_stored_softened_is_not_softened_again(tail: bool) -> None:
    logits = scores(0)
    as_stored, softened = (
        joint_loss(logits, LABELS, teacher_of(3, 2.0, tail, at), 2.0, 1.0, 0.5) for at in (1.0, 2.0)
    )
    torch.testing.assert_close(as_stored, softened)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("tail", [False, True])
def test_float32_is_within_a_millionth(temperature: float, tail: bool) -> None:
    double = joint_loss(scores(0), LABELS, teacher_of(3, temperature, tail), temperature, 1.0, 0.5)
    ids, values, rest, shape, _ = teacher_of(3, temperature, tail)
    single = TopKTeacher(ids, values.float(), rest.float(), shape.float() if shape is not None else None)
    found = joint_loss(scores(0).float(), LABELS, single, temperature, 1.0, 0.5)
    assert found.item() == pytest.approx(double.item(), rel=1e-6)


def test_without_any_label_the_soft_term_is_all() -> None:
    logits, none = scores(0).requires_grad_(), torch.full((FRAMES,), -1)
    alone, both = (joint_loss(logits, none, teacher_of(3, 2.0, True), 2.0, 1.0, hard) for hard in (0.0, 0.5))
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (both, alone)))


@pytest.mark.parametrize("rest", [-60.0, -1e-9, 0.0, -math.inf])
@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_extreme_masses_stay_finite(rest: float, tail: bool, temperature: float) -> None:
    logits = (30 * temperature * scores(0, torch.float32)).requires_grad_()
    ids, values, _ = compress((30 * scores(1, torch.float32)).log_softmax(-1), 3, [1.0])
    shape = 30 * scores(2, torch.float32) if tail else None
    teacher = TopKTeacher(ids, values, torch.full((FRAMES,), rest), shape)
    loss = joint_loss(logits, LABELS, teacher, temperature, 1.0, 0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_a_rest_that_the_student_has_no_mass_left_for_has_a_finite_gradient() -> None:
    logits = torch.tensor([[4000.0, 0.0, 0.0, 0.0]], requires_grad=True)
    teacher = TopKTeacher(torch.tensor([[0]]), torch.zeros(1, 1), torch.tensor([-0.5]))
    loss = joint_loss(logits, torch.tensor([0]), teacher, 20.0, 1.0, 0.5)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
