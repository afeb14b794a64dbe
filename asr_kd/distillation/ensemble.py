"""Averages of ensemble members, as pure functions of their log posteriors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from asr_kd.errors import AsrKdError

KINDS = ("arithmetic", "geometric")


def average(log_posteriors: Sequence[Tensor], kind: str = "arithmetic") -> Tensor:
    """The ensemble's log posteriors at T = 1.

    Args:
        log_posteriors: one a member, each ``(frames, senones)``, at T = 1.
        kind: "arithmetic": the mean of the posteriors; "geometric": the mean of their logarithms,
            normalised again (the product of experts, which equals averaging logits).

    Returns:
        ``(frames, senones)``, each frame a distribution.

    Raises:
        AsrKdError: no member, members of different shapes, or an unknown kind.
    """
    check_kind(kind)
    shapes = {tuple(member.shape) for member in log_posteriors}
    if len(shapes) != 1:
        raise AsrKdError(f"an average needs members of one shape, not {sorted(shapes) or 'none'}")
    stacked = torch.stack(list(log_posteriors))
    if kind == "arithmetic":
        return stacked.logsumexp(0) - math.log(len(stacked))
    return stacked.mean(0).log_softmax(-1)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of average by name."""
    if kind not in KINDS:
        raise AsrKdError(f"distill.average={kind!r} is not known; choose {' or '.join(KINDS)}")
