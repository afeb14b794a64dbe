"""Averages of ensemble members, as pure functions of their log posteriors.

Three kinds of mean: of the posteriors ("arithmetic"), of their logarithms ("geometric": the product of
experts, which equals averaging logits), and of their logarithms with weights learnt on dev ("log-linear").
Softening by a temperature before averaging or after it is the same for means of logarithms, and is not for
the arithmetic one: ``mean(p_i)^(1/T)`` keeps what the members disagree on, ``mean(p_i^(1/T))`` forgives it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from asr_kd.errors import AsrKdError

KINDS = ("arithmetic", "geometric", "log-linear")
SHARES_TOLERANCE = 1e-3  # what the shares of a senone mapping may lack of 1
TEMPERING = ("after", "before")  # softening by the temperature, seen from the averaging

_NEWTON_STEPS = 50
# Members are alike: without a little pull the weights of two equal ones would not be determined.
_PULL = 1e-6


def average(
    log_posteriors: Sequence[Tensor], kind: str = "arithmetic", weights: Sequence[float] | None = None
) -> Tensor:
    """The ensemble's log posteriors at the members' temperature.

    To soften members before they are averaged, pass ``(log_posteriors / T).log_softmax(-1)`` of each.

    Args:
        log_posteriors: one a member, each ``(frames, senones)``.
        kind: one of `KINDS`.
        weights: one a member; of kind "log-linear" only, see `fit_log_linear`.

    Returns:
        ``(frames, senones)``, each frame a distribution.

    Raises:
        AsrKdError: no member, members of different shapes, an unknown kind, or weights that do not fit it.
    """
    check_kind(kind)
    shapes = {tuple(member.shape) for member in log_posteriors}
    if len(shapes) != 1:
        raise AsrKdError(
            f"an average needs members of one shape, not {sorted(shapes) or 'none'}; members with senones of "
            "their own need a mapping to common ones (see `map_senones`)"
        )
    if (weights is not None) != (kind == "log-linear"):
        raise AsrKdError(f"{kind} average: weights belong to the log-linear average, and to no other")
    stacked = torch.stack(list(log_posteriors))
    if kind == "arithmetic":
        return stacked.logsumexp(0) - math.log(len(stacked))
    if weights is None:
        return stacked.mean(0).log_softmax(-1)
    if len(weights) != len(stacked):
        raise AsrKdError(f"{len(weights)} weights for {len(stacked)} members; learn them again")
    return torch.tensordot(stacked.new_tensor(weights), stacked, 1).log_softmax(-1)


def fit_log_linear(log_posteriors: Sequence[Tensor], labels: Tensor) -> list[float]:
    """The weights w of least cross entropy of ``softmax(sum w_i log p_i)`` with labels.

    A convex problem of one unknown a member, solved by Newton's method in float64. Weights are free: their
    sum is the inverse of a temperature, so that the average comes out calibrated; of a single member it is
    temperature scaling (Guo et al. 2017).

    Args:
        log_posteriors: one a member, each ``(frames, senones)``.
        labels: ``(frames,)`` senones; frames with -1 do not count.

    Raises:
        AsrKdError: no frame has a label.
    """
    counted = labels >= 0
    if not counted.any():
        raise AsrKdError("no frame of part dev has a label: weights and temperatures cannot be learnt on it")
    # (frames, members, senones)
    scores = torch.stack([member[counted] for member in log_posteriors], dim=1).double()
    wanted = scores.gather(2, labels[counted].long()[:, None, None].expand(-1, scores.size(1), 1))[..., 0]
    start = torch.full((scores.size(1),), 1.0 / scores.size(1), dtype=torch.float64)

    def loss(weights: Tensor) -> Tensor:
        sums = torch.einsum("m,fms->fs", weights, scores).logsumexp(1) - wanted @ weights
        return sums.mean() + _PULL * (weights - start).square().sum()

    weights, best = start, loss(start)
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(weights, start, scores, wanted)
        size = 1.0
        while (found := loss(weights - size * step)) > best and size > 1e-6:
            size /= 2
        if best - found < 1e-10:
            break
        weights, best = weights - size * step, found
    return [float(weight) for weight in weights]


def _newton_step(weights: Tensor, start: Tensor, scores: Tensor, wanted: Tensor) -> Tensor:
    """Inverse Hessian times gradient; the Hessian is the covariance of the members' scores."""
    p = torch.einsum("m,fms->fs", weights, scores).softmax(1)
    expected = torch.einsum("fs,fms->fm", p, scores)
    gradient = (expected - wanted).mean(0) + 2 * _PULL * (weights - start)
    moments = torch.einsum("fs,fms,fns->mn", p, scores, scores) / len(p)
    hessian = moments - expected.T @ expected / len(p) + 2 * _PULL * torch.eye(len(weights)).double()
    solved: Tensor = torch.linalg.solve(hessian, gradient)
    return solved


def map_senones(log_posteriors: Tensor, mapping: Tensor) -> Tensor:
    """Log posteriors over another senone set.

    Args:
        log_posteriors: ``(frames, own)``.
        mapping: ``(own,)`` integers: the common senone that each own one belongs to; or ``(own, common)``:
            what share of each own senone is which common one, rows that sum to 1.

    Returns:
        ``(frames, common)``; of a mapping by integers, common is the largest of them plus 1.

    Raises:
        AsrKdError: the mapping does not fit the senones, or its rows are no distributions.
    """
    if len(mapping) != log_posteriors.size(-1):
        raise AsrKdError(
            f"the senone mapping has {len(mapping)} rows for a model of {log_posteriors.size(-1)} senones"
        )
    if mapping.dim() == 1:
        mapping = torch.nn.functional.one_hot(mapping.long())
    shares = mapping.to(log_posteriors)
    if (shares < 0).any() or (shares.sum(1) - 1).abs().max() >= SHARES_TOLERANCE:
        raise AsrKdError("the senone mapping has rows that are not distributions: each must sum to 1")
    # Scaled by the best senone: the posteriors of the others may be too small for their type.
    largest = log_posteriors.max(-1, keepdim=True).values
    mapped = (log_posteriors - largest).exp() @ shares
    tiny = torch.finfo(mapped.dtype).tiny
    return (mapped.clamp(min=tiny).log() + largest).log_softmax(-1)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of average by name."""
    if kind not in KINDS:
        raise AsrKdError(f"distill.average={kind!r} is not known; choose one of {', '.join(KINDS)}")
