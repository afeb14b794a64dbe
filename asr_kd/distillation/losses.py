"""Distillation losses: pure functions of logits and teacher probabilities.

The class axis is the last one everywhere; all axes before it are frames, however they are arranged, so
``(frames, senones)`` and ``(batch, time, senones)`` mean the same. Every reduction is the mean over the
frames that count, so that no loss grows with the length of an utterance or with its padding; what lies in
padding may be anything, NaN included, and gets the gradient zero.

Everything follows Hinton, Vinyals and Dean (2015), section 2: teacher and student are softened by the same
temperature T, and because the gradients of the soft term shrink as 1 / T^2, the term is multiplied by T^2.

Training takes `top_k_divergence`, which reads the soft-target store. The dense `soft_cross_entropy` and
`divergence` are for teachers whose whole posteriors are at hand; tests hold `top_k_divergence` against them.
`counted` is for padded batches; training leaves padding out before the loss.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from asr_kd.errors import AsrKdError

CLASS_AXIS = -1
EXCLUDED = -1  # the label of a frame that does not count


def soft_cross_entropy(
    logits: Tensor, teacher: Tensor, temperature: float, counted: Tensor | None = None
) -> Tensor:
    """Mean over frames of ``-sum p log q``, teacher p and student q at one temperature.

    Args:
        logits: the student's, ``(..., senones)``.
        teacher: log posteriors at T = 1 (or logits), ``(..., senones)``.
        temperature: softens both alike.
        counted: which frames count, ``(...,)`` bool; none: all. A mean over no frames is 0.

    Raises:
        AsrKdError: teacher and student differ in shape.
    """
    log_p, log_q = _softened(logits, teacher, temperature, counted)
    return _frame_mean(-(log_p.exp() * log_q).sum(CLASS_AXIS), counted)


def divergence(logits: Tensor, teacher: Tensor, temperature: float, counted: Tensor | None = None) -> Tensor:
    """Mean over frames of the Kullback-Leibler divergence ``sum p (log p - log q)``.

    It has the gradients of `soft_cross_entropy`, but is 0 when the student equals the teacher. Arguments and
    errors are the same.
    """
    log_p, log_q = _softened(logits, teacher, temperature, counted)
    return _frame_mean((log_p.exp() * (log_p - log_q)).sum(CLASS_AXIS), counted)


def top_k_divergence(
    logits: Tensor,
    ids: Tensor,
    log_probabilities: Tensor,
    log_rest: Tensor,
    temperature: float,
    stored_at: float = 1.0,
    tail: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Mean divergence over k senones and the others, in the shape of `tail` or as one bucket.

    With one bucket it is a lower bound of the dense `divergence`, by the log-sum inequality, and equal to it
    when k covers every senone: how the student spreads the rest over the other senones is left to it.

    Args:
        logits: the student's, ``(..., senones)``.
        ids: the teacher's k most probable senones, ``(..., k)`` integers, each once a frame.
        log_probabilities: the teacher's log posteriors of `ids`, ``(..., k)``, at temperature `stored_at`.
        log_rest: logarithm of what the teacher, at `temperature`, gives to all other senones, ``(...,)``.
        temperature: softens both alike.
        stored_at: the temperature of `log_probabilities`.
        tail: how the rest is spread: log posteriors at `temperature` up to a constant a frame,
            ``(..., senones)``, of which only those not in `ids` count; none: as one bucket.
        counted: which frames count, ``(...,)`` bool; none: all. A mean over no frames is 0.
    """
    if counted is not None:
        logits = _blank(logits, counted)
        log_probabilities, log_rest = _blank(log_probabilities, counted), log_rest.where(counted, -torch.inf)
        tail = _blank(tail, counted) if tail is not None else None
    if ids.size(CLASS_AXIS) == logits.size(CLASS_AXIS):
        log_rest = torch.full_like(log_rest, -torch.inf)
    p, rest = top_k_teacher(log_probabilities, log_rest, temperature, stored_at)
    if tail is not None:
        spread: Tensor = _SpreadDivergence.apply(logits / temperature, ids.long(), p, rest, tail)
        return _frame_mean(spread, counted)
    entropy = torch.special.entr(p).sum(CLASS_AXIS) + torch.special.entr(rest)
    cross_entropy: Tensor = _BucketCrossEntropy.apply(logits / temperature, ids.long(), p, rest)
    return _frame_mean(cross_entropy - entropy, counted)


def top_k_teacher(
    log_probabilities: Tensor, log_rest: Tensor, temperature: float, stored_at: float = 1.0
) -> tuple[Tensor, Tensor]:
    """What a top-k teacher says at a temperature: p of its senones ``(..., k)`` and of all others ``(...,)``.

    ``p_T(i) = (1 - rest_T) p(i)^(1/T) / sum over the top-k of p(j)^(1/T)``. See `top_k_divergence`.
    """
    rest = log_rest.exp()
    shares = (log_probabilities * (stored_at / temperature)).softmax(CLASS_AXIS)
    return shares * (1.0 - rest).unsqueeze(CLASS_AXIS), rest


def spread_teacher(ids: Tensor, p: Tensor, rest: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """Dense probabilities of a top-k teacher whose rest has a shape.

    Args:
        ids: ``(..., k)`` int64, each once a frame.
        p: of `ids`, ``(..., k)``.
        rest: of all others, ``(...,)``.
        tail: ``(..., senones)``, see `top_k_divergence`.

    Returns:
        Probabilities ``(..., senones)``, and their entropy ``(...,)``.
    """
    others = tail.scatter(CLASS_AXIS, ids, torch.finfo(tail.dtype).min / 2)
    dense, log_sum = _softmax(others)
    entropy = torch.special.entr(rest) + rest * (log_sum - _dot(dense, others))
    dense.mul_(rest.unsqueeze(CLASS_AXIS)).scatter_(CLASS_AXIS, ids, p)
    return dense, entropy + torch.special.entr(p).sum(CLASS_AXIS)


class _SpreadDivergence(torch.autograd.Function):
    """``sum p (log p - log q)`` by frame, p of `spread_teacher`; written out to save passes over all senones.

    The gradient for ``q = softmax(z)`` is ``q - p``.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, ids: Tensor, p: Tensor, rest: Tensor, tail: Tensor) -> Tensor:
        """Z and tail ``(..., senones)``, ids and p ``(..., k)``, rest ``(...,)``; returns ``(...,)``."""
        dense, entropy = spread_teacher(ids, p, rest, tail)
        q, log_sum = _softmax(z)
        ctx.save_for_backward(q, dense)
        return log_sum - _dot(dense, z) - entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """By the formula of the class."""
        q, dense = ctx.saved_tensors
        return (q - dense).mul_(gradient.unsqueeze(CLASS_AXIS)), None, None, None, None


def _softmax(z: Tensor) -> tuple[Tensor, Tensor]:
    """``softmax(z)`` and ``log(sum(exp(z)))``, the latter in no pass of its own."""
    q = z.softmax(CLASS_AXIS)
    largest, where = z.max(CLASS_AXIS, keepdim=True)
    return q, (largest - q.gather(CLASS_AXIS, where).log()).squeeze(CLASS_AXIS)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products over the classes, without an array of the products."""
    return (a.unsqueeze(-2) @ b.unsqueeze(-1)).squeeze(-1).squeeze(-1)


class _BucketCrossEntropy(torch.autograd.Function):
    """``-sum_k p log q - rest log q_rest`` by frame, with its gradient written out.

    For ``q = softmax(z)`` the gradient is ``q_i - p_i`` at the k senones and ``q_j (1 - rest / q_rest)`` at
    all others: two passes over the logits, where automatic differentiation takes more than ten.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, ids: Tensor, p: Tensor, rest: Tensor) -> Tensor:
        """Z ``(..., senones)``, ids and p ``(..., k)``, rest ``(...,)``; returns ``(...,)``."""
        q, log_sum = _softmax(z)
        # log q from the logits, not from q: it stays finite where q is too small for its type.
        log_q = z.gather(CLASS_AXIS, ids) - log_sum.unsqueeze(CLASS_AXIS)
        others = q.scatter(CLASS_AXIS, ids, 0.0)
        # Summed over the others, not 1 minus the top-k, which would lose small masses to rounding.
        q_rest = others.sum(CLASS_AXIS).clamp(min=torch.finfo(q.dtype).tiny)
        ctx.save_for_backward(others, q.gather(CLASS_AXIS, ids) - p, 1.0 - rest / q_rest, ids)
        return -(p * log_q).sum(CLASS_AXIS) - rest * q_rest.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """By the formula of the class."""
        others, at_top, of_rest, ids = ctx.saved_tensors
        whole = others * (gradient * of_rest).unsqueeze(CLASS_AXIS)
        return whole.scatter_(CLASS_AXIS, ids, at_top * gradient.unsqueeze(CLASS_AXIS)), None, None, None


def hard_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, counted: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of logits ``(..., senones)`` with labels ``(...,)`` over frames with a label.

    Frames labelled `EXCLUDED` and frames that are not `counted` do not count; a mean over no frames is 0.
    """
    if counted is not None:
        logits, labels = _blank(logits, counted), labels.where(counted, EXCLUDED)
    losses = functional.cross_entropy(
        logits.flatten(0, -2),
        labels.flatten().long(),
        ignore_index=EXCLUDED,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return _frame_mean(losses.view(labels.shape), labels != EXCLUDED)


def distillation_loss(
    soft_term: Tensor, hard_term: Tensor, temperature: float, soft_weight: float, hard_weight: float
) -> Tensor:
    """``soft_weight * T^2 * soft_term + hard_weight * hard_term``; the two weights are independent."""
    return soft_weight * temperature**2 * soft_term + hard_weight * hard_term


def _softened(
    logits: Tensor, teacher: Tensor, temperature: float, counted: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Log p and log q, ``(..., senones)`` each."""
    if teacher.shape != logits.shape:
        raise AsrKdError(f"teacher {tuple(teacher.shape)} and student {tuple(logits.shape)} differ in shape")
    if counted is not None:
        logits, teacher = _blank(logits, counted), _blank(teacher, counted)
    return (teacher / temperature).log_softmax(CLASS_AXIS), (logits / temperature).log_softmax(CLASS_AXIS)


def _blank(scores: Tensor, counted: Tensor) -> Tensor:
    """Zeros in frames that do not count; `where` and not a product, for NaN times zero is NaN."""
    return scores.where(counted.unsqueeze(CLASS_AXIS), 0.0)


def _frame_mean(losses: Tensor, counted: Tensor | None) -> Tensor:
    if counted is None:
        return losses.sum() / max(losses.numel(), 1)
    return losses.where(counted, 0.0).sum() / counted.sum().clamp(min=1)
