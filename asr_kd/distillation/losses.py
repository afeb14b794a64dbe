"""Distillation losses: pure functions of logits and teacher probabilities.

The class axis is the last one everywhere; all axes before it are frames, however they are arranged, so
``(frames, senones)`` and ``(batch, time, senones)`` mean the same. Every reduction is the mean over the
frames that count, so that no loss grows with the length of an utterance or with its padding.

Everything follows Hinton, Vinyals and Dean (2015), section 2: teacher and student are softened by the same
temperature T, and because the gradients of the soft term shrink as 1 / T^2, the term is multiplied by T^2.
"""

import torch
from torch import Tensor
from torch.nn import functional

from asr_kd.errors import AsrKdError

CLASS_AXIS = -1
EXCLUDED = -1  # the label of a frame that does not count
# Stands for the logarithm of zero where minus infinity would put NaN into gradients.
LOG_ZERO = -1e30


def dense_distributions(logits: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Teacher and student at one temperature, over all senones.

    Args:
        logits: the student's, ``(..., senones)``.
        teacher: log posteriors at T = 1 (or logits), ``(..., senones)``.
        temperature: softens both alike.

    Returns:
        log p of the teacher and log q of the student, ``(..., senones)`` each.
    """
    if teacher.shape != logits.shape:
        raise AsrKdError(f"teacher {tuple(teacher.shape)} and student {tuple(logits.shape)} differ in shape")
    log_p = (teacher / temperature).log_softmax(CLASS_AXIS)
    return log_p, (logits / temperature).log_softmax(CLASS_AXIS)


def top_k_distributions(
    logits: Tensor, ids: Tensor, log_probabilities: Tensor, log_rest: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Teacher and student at one temperature over k senones and one bucket for all the others.

    By the log-sum inequality the divergence over these k + 1 classes is a lower bound of the dense one, and
    equal to it when k covers every senone.

    Args:
        logits: the student's, ``(..., senones)``.
        ids: the teacher's k most probable senones, ``(..., k)`` integers, each once a frame.
        log_probabilities: the teacher's log posteriors of `ids` at T = 1, ``(..., k)``.
        log_rest: logarithm of what the teacher, at `temperature`, gives to all other senones, ``(...,)``.
        temperature: softens both alike.

    Returns:
        log p of the teacher and log q of the student, ``(..., k + 1)`` each, the bucket last. Where k
        covers all senones there is no bucket, and both are ``(..., k)``.
    """
    ids = ids.long()
    softened = logits / temperature
    log_p = (log_probabilities / temperature).log_softmax(CLASS_AXIS)
    chosen = softened.gather(CLASS_AXIS, ids)
    if ids.size(CLASS_AXIS) == logits.size(CLASS_AXIS):
        return log_p, chosen.log_softmax(CLASS_AXIS)
    log_rest = log_rest.unsqueeze(CLASS_AXIS)
    log_p = torch.cat([log_p + _log_complement(log_rest), log_rest.clamp(min=LOG_ZERO)], CLASS_AXIS)
    others = softened.scatter(CLASS_AXIS, ids, LOG_ZERO).logsumexp(CLASS_AXIS, keepdim=True)
    return log_p, torch.cat([chosen, others], CLASS_AXIS).log_softmax(CLASS_AXIS)


def soft_cross_entropy(log_p: Tensor, log_q: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over frames of ``-sum p log q``.

    Args:
        log_p: the teacher, ``(..., classes)``.
        log_q: the student, ``(..., classes)``.
        counted: which frames count, ``(...,)`` bool; none: all. A mean over no frames is 0.
    """
    return _frame_mean(-(log_p.exp() * log_q).sum(CLASS_AXIS), counted)


def divergence(log_p: Tensor, log_q: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over frames of the Kullback-Leibler divergence ``sum p (log p - log q)``.

    It has the gradients of `soft_cross_entropy`, but is 0 when the student equals the teacher.
    """
    log_p = log_p.clamp(min=LOG_ZERO)
    return _frame_mean((log_p.exp() * (log_p - log_q)).sum(CLASS_AXIS), counted)


def hard_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, counted: Tensor | None = None
) -> Tensor:
    """Mean cross entropy of logits ``(..., senones)`` with labels ``(...,)`` over frames with a label.

    Frames labelled `EXCLUDED` and frames that are not `counted` do not count; a mean over no frames is 0.
    """
    has_label = labels != EXCLUDED
    losses = functional.cross_entropy(
        logits.flatten(0, -2),
        labels.flatten().long(),
        ignore_index=EXCLUDED,
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return _frame_mean(losses.view(labels.shape), has_label if counted is None else has_label & counted)


def distillation_loss(
    soft_term: Tensor, hard_term: Tensor, temperature: float, soft_weight: float, hard_weight: float
) -> Tensor:
    """``soft_weight * T^2 * soft_term + hard_weight * hard_term``; the two weights are independent."""
    return soft_weight * temperature**2 * soft_term + hard_weight * hard_term


def _frame_mean(losses: Tensor, counted: Tensor | None) -> Tensor:
    if counted is None:
        return losses.sum() / max(losses.numel(), 1)
    # `where` and not a product: what lies in padding may be anything, NaN included.
    return losses.where(counted, 0.0).sum() / counted.sum().clamp(min=1)


def _log_complement(log_x: Tensor) -> Tensor:
    """``log(1 - x)`` of ``log x``; x is kept below 1 by the spacing of what the store can hold near it."""
    return torch.log(-torch.expm1(log_x.clamp(max=-1e-7)))
