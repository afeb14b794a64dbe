"""Distillation losses: pure functions of logits and teacher probabilities.

The class axis is the last one everywhere; all axes before it are frames, however they are arranged, so
``(frames, senones)`` and ``(batch, time, senones)`` mean the same. Every reduction is the mean over the
frames that count, so that no loss grows with the length of an utterance or with its padding; what lies in
padding may be anything, NaN included, and gets the gradient zero.

Everything follows Hinton, Vinyals and Dean (2015), section 2: teacher and student are softened by the same
temperature T, and because the gradients of the soft term shrink as 1 / T^2, the term is multiplied by T^2.

`top_k_divergence` is for what the soft-target store holds; the dense `soft_cross_entropy` and `divergence`
are for teachers whose whole posteriors are at hand. `counted` is for padded batches. Training, which leaves
padding out before the loss, takes `joint.joint_loss`, which tests hold against these.
"""

import torch
from torch import Tensor
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
    log_q = (logits / temperature).log_softmax(CLASS_AXIS)
    if tail is not None:
        dense, entropy = spread_teacher(ids.long(), p, rest, tail)
        return _frame_mean(-(dense * log_q).sum(CLASS_AXIS) - entropy, counted)
    # Summed over the others, not 1 minus the top k, which would lose small masses to rounding.
    q_rest = log_q.exp().scatter(CLASS_AXIS, ids.long(), 0.0).sum(CLASS_AXIS)
    log_q_rest = q_rest.clamp(min=torch.finfo(q_rest.dtype).tiny).log()
    entropy = torch.special.entr(p).sum(CLASS_AXIS) + torch.special.entr(rest)
    cross_entropy = -(p * log_q.gather(CLASS_AXIS, ids.long())).sum(CLASS_AXIS) - rest * log_q_rest
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
    others = tail.scatter(CLASS_AXIS, ids, torch.finfo(tail.dtype).min / 2).softmax(CLASS_AXIS)
    dense = (others * rest.unsqueeze(CLASS_AXIS)).scatter(CLASS_AXIS, ids, p)
    return dense, torch.special.entr(dense).sum(CLASS_AXIS)


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
