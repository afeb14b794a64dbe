"""The losses against float64 sums written out with loops, and against finite differences."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asr_kd.distillation.losses import (
    distillation_loss,
    divergence,
    hard_cross_entropy,
    soft_cross_entropy,
    spread_teacher,
    top_k_divergence,
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


def top_k(logits: Tensor, teacher: Tensor, k: int, temperature: float, **options: Any) -> Tensor:
    """The divergence over the teacher's k most probable senones and the rest."""
    ids, values, rest = compress(teacher.log_softmax(-1), k, [temperature])
    return top_k_divergence(logits, ids, values, rest[..., 0], temperature, **options)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_dense_terms_equal_the_sums(temperature: float) -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    cross_entropy, relative = reference_terms(logits, teacher, temperature)
    assert soft_cross_entropy(logits, teacher, temperature).item() == pytest.approx(cross_entropy, rel=1e-12)
    assert divergence(logits, teacher, temperature).item() == pytest.approx(relative, rel=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_terms_in_float32_are_within_a_millionth(temperature: float) -> None:
    logits, teacher = scores(6, 400), scores(6, 400, seed=1)
    cross_entropy, relative = reference_terms(logits, teacher, temperature)
    single = logits.float(), teacher.float()
    assert soft_cross_entropy(*single, temperature).item() == pytest.approx(cross_entropy, rel=1e-6)
    assert divergence(*single, temperature).item() == pytest.approx(relative, rel=1e-6, abs=1e-6)
    covering = top_k(*single, 400, temperature).item()
    assert covering == pytest.approx(relative, rel=1e-6, abs=1e-6)


def merged_divergence(logits: Tensor, teacher: Tensor, k: int, temperature: float) -> float:
    """Over the k most probable senones and one class that all others are merged into."""
    total = 0.0
    for student_scores, teacher_scores in zip(logits.numpy(), teacher.numpy(), strict=True):
        p, q = softmax(teacher_scores / temperature), softmax(student_scores / temperature)
        order = np.argsort(-teacher_scores)
        kept, others = order[:k], order[k:]
        pairs = [(p[senone], q[senone]) for senone in kept] + [(p[others].sum(), q[others].sum())]
        total += sum(mine * math.log(mine / theirs) for mine, theirs in pairs)
    return total / len(logits)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("k", [1, 3, 8])
def test_top_k_with_rest_equals_the_sums_over_merged_classes(temperature: float, k: int) -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    found = top_k(logits, teacher, k, temperature)
    assert found.item() == pytest.approx(merged_divergence(logits, teacher, k, temperature), rel=1e-9)
    assert found <= divergence(logits, teacher, temperature) + 1e-12


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_top_k_of_all_senones_is_the_dense_loss(temperature: float) -> None:
    logits, teacher = scores(6, 9).requires_grad_(), scores(6, 9, seed=1)
    dense, sparse = divergence(logits, teacher, temperature), top_k(logits, teacher, 9, temperature)
    torch.testing.assert_close(sparse, dense)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (dense, sparse)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("k", [1, 3, 9])
def test_rest_in_the_teachers_own_shape_is_the_dense_loss(temperature: float, k: int) -> None:
    logits, teacher = scores(6, 9).requires_grad_(), scores(6, 9, seed=1)
    # A shape is known up to a constant a frame; what it says of the top k does not count.
    shape = (teacher + 7).scatter(1, teacher.topk(1).indices, -50.0)
    dense = divergence(logits, teacher, temperature)
    spread = top_k(logits, teacher, k, temperature, tail=shape / temperature)
    torch.testing.assert_close(spread, dense)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (dense, spread)]
    torch.testing.assert_close(*gradients)


def test_rest_is_spread_in_proportion_to_the_shape() -> None:
    ids, p = torch.tensor([[2, 0]]), torch.tensor([[0.5, 0.2]])
    shape = torch.tensor([[9.0, 1.0, -9.0, 2.0]])
    found, entropy = spread_teacher(ids, p, torch.tensor([0.3]), shape)
    share = math.e / (1 + math.e)
    wanted = torch.tensor([[0.2, 0.3 * (1 - share), 0.5, 0.3 * share]])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(entropy, torch.special.entr(wanted).sum(1))


@pytest.mark.parametrize("shape", [(5, 4), (2, 2, 4)])
def test_gradients_equal_finite_differences(shape: tuple[int, ...]) -> None:
    logits = scores(*shape).requires_grad_()
    teacher = scores(*shape, seed=1)
    labels = torch.arange(math.prod(shape[:-1])).view(shape[:-1]) % 6 - 1
    counted = torch.arange(labels.numel()).view(labels.shape) % 3 != 0

    def dense(x: Tensor) -> Tensor:
        return soft_cross_entropy(x, teacher, 2.0, counted)

    def sparse(x: Tensor) -> Tensor:
        return top_k(x, teacher, 2, 2.0, counted=counted)

    def spread(x: Tensor) -> Tensor:
        return top_k(x, teacher, 2, 2.0, tail=scores(*shape, seed=2), counted=counted)

    def both(x: Tensor) -> Tensor:
        return distillation_loss(sparse(x), hard_cross_entropy(x, labels, 0.1, counted), 2.0, 0.7, 0.4)

    for loss in (dense, sparse, spread, both):
        assert torch.autograd.gradcheck(loss, logits)


def soft_gradient(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Of the soft term, T^2 included, by the logits."""
    logits = logits.clone().requires_grad_()
    soft = soft_cross_entropy(logits, teacher, temperature)
    distillation_loss(soft, torch.zeros(()), temperature, 1.0, 0.0).backward()
    assert logits.grad is not None
    return logits.grad


def test_gradient_keeps_its_size_when_the_temperature_rises() -> None:
    # Hinton et al. (2015), section 2: without T^2 the soft gradients shrink as 1 / T^2.
    sizes = [soft_gradient(scores(50, 9), scores(50, 9, seed=1), t).norm().item() for t in (20.0, 40.0)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_high_temperatures_match_logits() -> None:
    # Hinton et al. (2015), equation 4: for zero-mean logits the gradient tends to (z - v) / (N T^2).
    logits, teacher = (scores(5, 9, seed=seed) for seed in (0, 1))
    logits, teacher = (x - x.mean(1, keepdim=True) for x in (logits, teacher))
    limit = (logits - teacher) / (9 * len(logits))
    torch.testing.assert_close(soft_gradient(logits, teacher, 1e4), limit, rtol=5e-3, atol=1e-5)


def test_the_student_is_softened_too() -> None:
    teacher = scores(6, 9, seed=1)
    for temperature in TEMPERATURES:
        assert divergence(teacher, teacher, temperature).item() == pytest.approx(0.0)
        assert top_k(teacher, teacher, 3, temperature).item() == pytest.approx(0.0, abs=1e-12)


def test_a_teacher_stored_softened_is_not_softened_again() -> None:
    logits, teacher = scores(6, 9), scores(6, 9, seed=1)
    ids, values, rest = compress((teacher / 2).log_softmax(-1), 3, [1.0])
    found = top_k_divergence(logits, ids, values, rest[:, 0], 2.0, stored_at=2.0)
    torch.testing.assert_close(found, top_k(logits, teacher, 3, 2.0))


def test_weights_are_independent_and_the_square_is_on_the_soft_term_alone() -> None:
    soft, hard = torch.tensor(3.0), torch.tensor(5.0)
    assert distillation_loss(soft, hard, 4.0, 1.0, 0.0).item() == 48.0
    assert distillation_loss(soft, hard, 4.0, 0.0, 1.0).item() == 5.0
    assert distillation_loss(soft, hard, 4.0, 0.5, 2.0).item() == 34.0


LABELS = torch.arange(15) % 9

TERMS = {
    "dense": lambda z, v, labels, counted: divergence(z, v, 2.0, counted),
    "cross entropy": lambda z, v, labels, counted: soft_cross_entropy(z, v, 2.0, counted),
    "top-k": lambda z, v, labels, counted: top_k(z, v, 3, 2.0, counted=counted),
    "shaped": lambda z, v, labels, counted: top_k(z, v, 3, 2.0, tail=-v, counted=counted),
    "hard": lambda z, v, labels, counted: hard_cross_entropy(z, labels, 0.1, counted),
}


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_classes_are_the_last_axis(term: Callable[..., Tensor]) -> None:
    logits, teacher = scores(3, 5, 9), scores(3, 5, 9, seed=1)
    in_time = term(logits, teacher, LABELS.view(3, 5), None)
    torch.testing.assert_close(in_time, term(logits.view(15, 9), teacher.view(15, 9), LABELS, None))


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_padding_never_counts_whatever_lies_in_it(term: Callable[..., Tensor]) -> None:
    logits, teacher, labels = scores(3, 5, 9), scores(3, 5, 9, seed=1), LABELS.view(3, 5)
    counted = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    clean = logits[counted].requires_grad_()
    dirty = logits.where(counted[..., None], math.nan).requires_grad_()
    dirty_teacher = teacher.where(counted[..., None], math.inf)
    expected = term(clean, teacher[counted], labels[counted], None)
    found = term(dirty, dirty_teacher, labels, counted)
    torch.testing.assert_close(found, expected)
    expected.backward()
    found.backward()
    assert dirty.grad is not None and (dirty.grad[~counted] == 0).all()
    torch.testing.assert_close(dirty.grad[counted], clean.grad)


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_batches_change_nothing(term: Callable[..., Tensor]) -> None:
    # The mean over frames does not grow with length, and is the weighted mean over any batches.
    logits, teacher = scores(15, 9), scores(15, 9, seed=1)
    pieces = [(slice(0, 4), 4), (slice(4, 5), 1), (slice(5, 15), 10)]
    weighted = sum(n * term(logits[s], teacher[s], LABELS[s], None) for s, n in pieces) / 15
    torch.testing.assert_close(term(logits, teacher, LABELS, None), weighted)


def test_nothing_that_counts_is_zero_with_zero_gradient() -> None:
    logits = scores(4, 9).requires_grad_()
    none = torch.zeros(4, dtype=torch.bool)
    total = hard_cross_entropy(logits, torch.full((4,), -1))
    for term in TERMS.values():
        total = total + term(logits, scores(4, 9), torch.zeros(4, dtype=torch.long), none)
    total.backward()
    assert total.item() == 0.0
    assert logits.grad is not None and (logits.grad == 0).all()


@pytest.mark.parametrize("rest", [-60.0, -1e-9, 0.0, -math.inf])
def test_extreme_masses_of_the_rest_stay_finite(rest: float) -> None:
    logits = (30 * scores(2, 9, dtype=torch.float32)).requires_grad_()
    ids, values, _ = compress((30 * scores(2, 9, seed=1, dtype=torch.float32)).log_softmax(-1), 3, [1.0])
    loss = top_k_divergence(logits, ids, values, torch.full((2,), rest), 1.0)
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
        divergence(torch.zeros(2, 3), torch.zeros(1, 3), 1.0)
