"""The losses against float64 sums written out with loops, and against finite differences."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from asr_kd.distillation.losses import (
    dense_distributions,
    distillation_loss,
    divergence,
    hard_cross_entropy,
    soft_cross_entropy,
    top_k_distributions,
)
from asr_kd.distillation.soft_targets import compress
from asr_kd.errors import AsrKdError

TEMPERATURES = (0.5, 1.0, 2.0, 20.0)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def reference_terms(logits: Tensor, teacher: Tensor, temperature: float) -> tuple[float, float]:
    """Cross entropy and divergence, one frame and one class at a time."""
    cross_entropy = relative = 0.0
    frames = list(zip(logits.double().numpy(), teacher.double().numpy(), strict=True))
    for student_scores, teacher_scores in frames:
        q, p = softmax(student_scores / temperature), softmax(teacher_scores / temperature)
        for mass, student_mass in zip(p, q, strict=True):
            cross_entropy -= mass * math.log(student_mass)
            relative += mass * (math.log(mass) - math.log(student_mass))
    return cross_entropy / len(frames), relative / len(frames)


def scores(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dense_terms_equal_the_sums(temperature: float) -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    pair = dense_distributions(logits, teacher, temperature)
    cross_entropy, relative = reference_terms(logits, teacher, temperature)
    assert soft_cross_entropy(*pair).item() == pytest.approx(cross_entropy, rel=1e-12)
    assert divergence(*pair).item() == pytest.approx(relative, rel=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dense_terms_in_float32_stay_close(temperature: float) -> None:
    logits, teacher = scores(6, 400), scores(6, 400, seed=1)
    pair = dense_distributions(logits.float(), teacher.float(), temperature)
    assert divergence(*pair).item() == pytest.approx(
        reference_terms(logits, teacher, temperature)[1], rel=1e-5
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("top_k", [1, 3, 8])
def test_top_k_with_rest_equals_the_sums_over_merged_classes(temperature: float, top_k: int) -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    ids, values, rest = compress(teacher.log_softmax(-1), top_k, [temperature])
    found = divergence(*top_k_distributions(logits, ids, values, rest[:, 0], temperature))
    expected = 0.0
    for frame in range(6):
        p, q = (softmax(x[frame].numpy() / temperature) for x in (teacher, logits))
        kept = np.argsort(-teacher[frame].numpy())[:top_k]
        others = np.setdiff1d(np.arange(9), kept)
        merged = [(p[senone], q[senone]) for senone in kept] + [(p[others].sum(), q[others].sum())]
        expected += sum(mine * math.log(mine / theirs) for mine, theirs in merged) / 6
    assert found.item() == pytest.approx(expected, rel=1e-9)
    dense = divergence(*dense_distributions(logits, teacher, temperature))
    assert found <= dense + 1e-12


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_top_k_of_all_senones_is_the_dense_loss(temperature: float) -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    ids, values, rest = compress(teacher.log_softmax(-1), 9, [temperature])
    assert torch.isneginf(rest).all()
    sparse = divergence(*top_k_distributions(logits, ids, values, rest[:, 0], temperature))
    torch.testing.assert_close(sparse, divergence(*dense_distributions(logits, teacher, temperature)))


@pytest.mark.parametrize("shape", [(5, 4), (2, 2, 4)])
def test_gradients_equal_finite_differences(shape: tuple[int, ...]) -> None:
    logits = scores(*shape).requires_grad_()
    teacher = scores(*shape, seed=1).log_softmax(-1)
    ids, values, rest = compress(teacher, 2, [2.0])
    labels = torch.arange(math.prod(shape[:-1])).view(shape[:-1]) % 6 - 1
    counted = torch.arange(labels.numel()).view(labels.shape) % 3 != 0

    def dense(x: Tensor) -> Tensor:
        return soft_cross_entropy(*dense_distributions(x, teacher, 2.0), counted)

    def sparse(x: Tensor) -> Tensor:
        return divergence(*top_k_distributions(x, ids, values, rest[..., 0], 2.0), counted)

    def both(x: Tensor) -> Tensor:
        return distillation_loss(sparse(x), hard_cross_entropy(x, labels, 0.1, counted), 2.0, 0.7, 0.4)

    for loss in (dense, sparse, both):
        assert torch.autograd.gradcheck(loss, logits)


def test_gradient_keeps_its_size_when_the_temperature_rises() -> None:
    # Hinton et al. (2015), section 2: without T^2 the soft gradients shrink as 1 / T^2.
    teacher = scores(50, 9, seed=1)
    sizes = []
    for temperature in (20.0, 40.0):
        logits = scores(50, 9).requires_grad_()
        soft = soft_cross_entropy(*dense_distributions(logits, teacher, temperature))
        distillation_loss(soft, torch.zeros(()), temperature, 1.0, 0.0).backward()
        assert logits.grad is not None
        sizes.append(logits.grad.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_the_student_is_softened_too() -> None:
    teacher = scores(6, 9, seed=1)
    for temperature in TEMPERATURES:
        assert divergence(*dense_distributions(teacher, teacher, temperature)).item() == pytest.approx(0.0)


def test_weights_are_independent_and_the_square_is_on_the_soft_term_alone() -> None:
    soft, hard = torch.tensor(3.0), torch.tensor(5.0)
    assert distillation_loss(soft, hard, 4.0, 1.0, 0.0).item() == 48.0
    assert distillation_loss(soft, hard, 4.0, 0.0, 1.0).item() == 5.0
    assert distillation_loss(soft, hard, 4.0, 0.5, 2.0).item() == 34.0


def test_classes_are_the_last_axis() -> None:
    logits, teacher = scores(3, 4, 9), scores(3, 4, 9, seed=1)
    in_time = divergence(*dense_distributions(logits, teacher, 2.0))
    flat = divergence(*dense_distributions(logits.view(12, 9), teacher.view(12, 9), 2.0))
    torch.testing.assert_close(in_time, flat)
    labels = torch.arange(12).view(3, 4) % 9
    torch.testing.assert_close(
        hard_cross_entropy(logits, labels), hard_cross_entropy(logits.view(12, 9), labels.view(12))
    )


def test_padding_never_counts_whatever_lies_in_it() -> None:
    logits, teacher = scores(2, 5, 9), scores(2, 5, 9, seed=1)
    counted = torch.tensor([[True] * 5, [True, True, False, False, False]])
    labels = torch.full((2, 5), 3).where(counted, -1)
    dirty_logits, dirty_teacher = logits.clone(), teacher.clone()
    dirty_logits[~counted] = math.nan
    dirty_teacher[~counted] = math.inf
    clean = divergence(*dense_distributions(logits[counted], teacher[counted], 2.0))
    found = divergence(*dense_distributions(dirty_logits, dirty_teacher, 2.0), counted)
    torch.testing.assert_close(found, clean)
    hard = hard_cross_entropy(dirty_logits, labels)
    torch.testing.assert_close(hard, hard_cross_entropy(logits[counted], labels[counted]))


def test_the_mean_does_not_grow_with_length() -> None:
    logits, teacher = scores(5, 9), scores(5, 9, seed=1)
    once = divergence(*dense_distributions(logits, teacher, 2.0))
    twice = divergence(*dense_distributions(logits.repeat(2, 1), teacher.repeat(2, 1), 2.0))
    torch.testing.assert_close(once, twice)


def test_nothing_that_counts_is_zero_with_zero_gradient() -> None:
    logits = scores(4, 9).requires_grad_()
    none = torch.zeros(4, dtype=torch.bool)
    total = hard_cross_entropy(logits, torch.full((4,), -1)) + divergence(
        *dense_distributions(logits, scores(4, 9), 2.0), none
    )
    total.backward()
    assert total.item() == 0.0
    assert logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("rest", [-60.0, -1e-9, 0.0, -math.inf])
def test_extreme_masses_of_the_rest_stay_finite(rest: float) -> None:
    logits = (30 * scores(2, 9, dtype=torch.float32)).requires_grad_()
    ids, values, _ = compress((30 * scores(2, 9, seed=1, dtype=torch.float32)).log_softmax(-1), 3, [1.0])
    loss = divergence(*top_k_distributions(logits, ids, values, torch.full((2,), rest), 1.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_hard_term_equals_the_sum_and_skips_excluded_frames() -> None:
    logits, labels = scores(4, 9), torch.tensor([2, -1, 0, 8])
    expected = -sum(
        math.log(softmax(logits[frame].numpy())[labels[frame]]) for frame in (0, 2, 3)
    )  # fmt: skip
    assert hard_cross_entropy(logits, labels).item() == pytest.approx(expected / 3)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(AsrKdError, match="differ in shape"):
        dense_distributions(torch.zeros(2, 3), torch.zeros(1, 3), 1.0)
