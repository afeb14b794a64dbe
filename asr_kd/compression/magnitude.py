"""Magnitude pruning: the smallest weights of all matrices together become zero and stay zero.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks" (2015). No runtime that we
use computes faster with zeros strewn about: such a network is smaller on disk and in what could be sent, and
costs as much to compute as before; the report counts its parameters that are not zero, and says so.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def prune_weights(model: nn.Module, share: float) -> None:
    """Set all but the largest `share` of the weights of all matrices to zero, in place, for good.

    They stay zero in any training that follows: their gradients are zero, and weight decay keeps zeros.
    """
    matrices = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    sizes = torch.cat([weight.detach().abs().flatten() for weight in matrices])
    removed = round((1.0 - share) * len(sizes))
    if not removed:
        return
    smallest_kept = sizes.kthvalue(removed).values
    for weight in matrices:
        mask = weight.detach().abs() > smallest_kept
        with torch.no_grad():
            weight.mul_(mask)
        weight.register_hook(_masked_by(mask))


def _masked_by(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * mask
