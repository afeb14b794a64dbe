"""What dev tells of a system beside its accuracy: a temperature, and a bias for classes it never saw."""

import numpy as np
import torch
from torch import Tensor

from asr_kd.distillation.ensemble import fit_log_linear


def fit_temperature(log_posteriors: Tensor, labels: Tensor) -> float:
    """The temperature of least cross entropy (Guo et al. 2017, "On calibration of modern neural networks").

    Args:
        log_posteriors: ``(frames, senones)`` at T = 1.
        labels: ``(frames,)``; frames with -1 do not count.
    """
    # The weight of a log-linear average of one member is its inverse temperature; 1e-3 stands for no trust.
    return 1.0 / max(fit_log_linear([log_posteriors], labels)[0], 1e-3)


def fit_bias(log_posteriors: Tensor, labels: Tensor, classes: tuple[int, ...]) -> float:
    """The number that, added to the scores of some classes, leaves the fewest errors.

    A student that has never seen a class gives it too small a bias; raising that alone mends most of it
    (Hinton, Vinyals and Dean 2015, section 3). The errors as a function of the number are a step function
    with a step a frame at most: it is minimised exactly, and the middle of the lowest step is returned.

    Args:
        log_posteriors: ``(frames, senones)``.
        labels: ``(frames,)``; frames with -1 do not count.
        classes: whose bias is changed, all by the same.
    """
    counted = labels >= 0
    scores, wanted = log_posteriors[counted].double(), labels[counted].long()
    inside = torch.zeros(scores.size(1), dtype=torch.bool)
    inside[list(classes)] = True
    (best_in, which_in), (best_out, which_out) = (scores[:, part].max(1) for part in (inside, ~inside))
    names = torch.arange(scores.size(1))
    right_in, right_out = names[inside][which_in] == wanted, names[~inside][which_out] == wanted
    # Frame f is given one of the classes once the bias is above this.
    threshold, order = (best_out - best_in).sort()
    change = right_out[order].long() - right_in[order].long()  # in errors, as the bias passes the threshold
    errors = np.concatenate([[0], change.cumsum(0).numpy()])
    ends = np.concatenate([[threshold[0] - 1.0], threshold.numpy(), [threshold[-1] + 1.0]])
    # Equal thresholds make steps of no width, which no bias reaches.
    errors = np.where(np.diff(ends) > 0, errors, len(threshold) + 1)
    lowest = int(errors.argmin())
    return float((ends[lowest] + ends[lowest + 1]) / 2)


def add_bias(log_posteriors: Tensor, classes: tuple[int, ...], bias: float) -> Tensor:
    """Log posteriors ``(frames, senones)`` with `bias` added to the scores of `classes`."""
    raised = log_posteriors.clone()
    raised[:, list(classes)] += bias
    return raised.log_softmax(-1)
