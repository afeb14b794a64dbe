"""Both terms of the distillation loss with their gradient, in few passes over frames and senones.

Automatic differentiation goes through arrays of frames and senones once and more for every operation; here
they are written over. `losses` says what is computed; tests hold the two against each other.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr_kd.distillation.losses import EXCLUDED, top_k_teacher


class TopKTeacher(NamedTuple):
    """What a teacher says of some frames; see `losses.top_k_divergence`.

    Attributes:
        ids: ``(frames, k)`` integers.
        log_probabilities: ``(frames, k)``, at temperature `stored_at`.
        log_rest: ``(frames,)``, at the temperature of the loss.
        tail: ``(frames, senones)``, at the temperature of the loss, and overwritten there; none: the rest is
            one class.
        stored_at: a temperature.
    """

    ids: Tensor
    log_probabilities: Tensor
    log_rest: Tensor
    tail: Tensor | None = None
    stored_at: float = 1.0


class Weights(NamedTuple):
    """Of the terms in a sum over frames.

    Attributes:
        soft: of a frame's divergence.
        hard: of a frame's cross entropy, ``(frames,)``; 0 where there is no label.
    """

    soft: float
    hard: Tensor


def joint_loss(
    logits: Tensor,
    labels: Tensor,
    teacher: TopKTeacher,
    temperature: float,
    soft_weight: float,
    hard_weight: float | Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """``soft_weight * T^2 * divergence + hard_weight * cross entropy``, each a mean over its frames.

    Args:
        logits: the student's, ``(frames, senones)``; all frames count.
        labels: ``(frames,)`` integers; frames labelled `EXCLUDED` have no hard term.
        teacher: of the same frames.
        temperature: of teacher and student in the soft term.
        soft_weight: of the mean divergence.
        hard_weight: of the mean cross entropy.
        label_smoothing: of the hard term.
    """
    with torch.no_grad():
        counted = (labels != EXCLUDED).to(logits.dtype)
        weights = Weights(
            soft_weight * temperature**2 / max(len(logits), 1),
            counted * (hard_weight / counted.sum().clamp(min=1)),
        )
        z = logits.detach()
        student = _Student(z, temperature)
        term = _bucket_term if teacher.tail is None else _spread_term
        loss, gradient = term(student, teacher, weights)
        if isinstance(hard_weight, Tensor) or hard_weight:
            loss += _add_hard_term(student, gradient, labels.clamp(min=0).long(), weights, label_smoothing)
    joined: Tensor = _WithGradient.apply(logits, loss, gradient)
    return joined


class _Student:
    """Logits and their posteriors at a temperature; `q` is taken over for the gradient."""

    def __init__(self, logits: Tensor, temperature: float) -> None:
        self.logits, self.temperature = logits, temperature
        self.scaled = logits if temperature == 1.0 else logits / temperature
        self.q, self.log_sum = _softmax(self.scaled)

    def of_q(self, weights: Weights) -> Tensor:
        """What `q` counts in the gradient, ``(frames,)``: at T = 1 also what it does in the hard term."""
        soft = torch.full_like(weights.hard, weights.soft / self.temperature)
        return soft + weights.hard if self.temperature == 1.0 else soft


def _bucket_term(student: _Student, teacher: TopKTeacher, weights: Weights) -> tuple[Tensor, Tensor]:
    """The weighted divergence, the rest as one class, and its gradient; see `_Student.of_q`."""
    ids, (p, rest) = teacher.ids.long(), _masses(student, teacher)
    q, soft, of_q = student.q, weights.soft / student.temperature, student.of_q(weights)
    # From the logits, not from q: it stays finite where q is too small for its type.
    log_q = student.scaled.gather(1, ids) - student.log_sum[:, None]
    q_top = q.gather(1, ids)
    # Summed over the others, not 1 minus the top k, which would lose small masses to rounding.
    q_rest = q.scatter_(1, ids, 0.0).sum(1).clamp(min=torch.finfo(q.dtype).tiny)
    losses = -(torch.special.entr(p) + p * log_q).sum(1) - torch.special.entr(rest) - rest * q_rest.log()
    # Times q, which is 0 where this overflows.
    q.mul_((of_q - (soft * rest / q_rest).clamp(max=torch.finfo(q.dtype).max))[:, None])
    return weights.soft * losses.sum(), q.scatter_(1, ids, of_q[:, None] * q_top - soft * p)


def _spread_term(student: _Student, teacher: TopKTeacher, weights: Weights) -> tuple[Tensor, Tensor]:
    """The weighted divergence, the rest in the shape of the tail, and its gradient; see `_Student.of_q`."""
    assert teacher.tail is not None
    ids, (p, rest) = teacher.ids.long(), _masses(student, teacher)
    others = teacher.tail.scatter_(1, ids, torch.finfo(p.dtype).min / 2)
    dense, log_sum = _softmax(others)
    of_others = log_sum - others.mul_(dense).sum(1)
    entropy = torch.special.entr(rest) + rest * of_others + torch.special.entr(p).sum(1)
    dense.mul_(rest[:, None]).scatter_(1, ids, p)
    losses = student.log_sum - torch.mul(dense, student.scaled, out=others).sum(1) - entropy
    gradient = student.q.mul_(student.of_q(weights)[:, None])
    return weights.soft * losses.sum(), gradient.sub_(dense, alpha=weights.soft / student.temperature)


def _masses(student: _Student, teacher: TopKTeacher) -> tuple[Tensor, Tensor]:
    """What the teacher gives to its top k and to the rest."""
    log_rest = teacher.log_rest
    if teacher.ids.size(1) == student.q.size(1):
        log_rest = torch.full_like(log_rest, -torch.inf)
    return top_k_teacher(teacher.log_probabilities, log_rest, student.temperature, teacher.stored_at)


def _add_hard_term(
    student: _Student, gradient: Tensor, labels: Tensor, weights: Weights, smoothing: float
) -> Tensor:
    """The weighted cross entropy with labels; `gradient` gains what it lacks of it."""
    z, log_sum, hard = student.logits, student.log_sum, weights.hard[:, None]
    if student.temperature != 1.0:
        q, log_sum = _softmax(z)
        gradient.addcmul_(q, hard)
    gradient.scatter_add_(1, labels[:, None], (smoothing - 1.0) * hard)
    wanted = (1.0 - smoothing) * z.gather(1, labels[:, None]).squeeze(1)
    if smoothing:
        gradient.sub_((smoothing / z.size(1)) * hard)
        wanted += smoothing * z.mean(1)
    return (weights.hard * (log_sum - wanted)).sum()


class _WithGradient(torch.autograd.Function):
    """A loss whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """The loss, a scalar."""
        ctx.save_for_backward(gradient)
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        """By the logits."""
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


def _softmax(z: Tensor) -> tuple[Tensor, Tensor]:
    """``softmax(z)`` and ``log(sum(exp(z)))``: the largest of the former is exp(largest - the latter)."""
    q = z.softmax(1)
    return q, z.amax(1) - q.amax(1).log()
