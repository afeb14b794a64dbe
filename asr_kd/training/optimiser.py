"""How weights follow gradients: AdamW, or Muon for the hidden matrices."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from asr_kd.config.schema import OptimiserConfig

ALGORITHMS = ("adamw", "muon")


class Optimiser(Protocol):
    """What a training asks of it; a `torch.optim.Optimizer` is one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Parameters with their settings, ``lr`` among them."""
        ...

    def step(self) -> object:
        """Change the weights by their gradients."""
        ...

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a resumption needs."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Go on from a `state_dict`."""
        ...


class Joined:
    """Several optimisers, each of its own parameters, as one."""

    def __init__(self, optimisers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Join optimisers, by name."""
        self._optimisers = dict(optimisers)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """See `Optimiser`."""
        return [group for one in self._optimisers.values() for group in one.param_groups]

    def step(self) -> None:
        """See `Optimiser`."""
        for one in self._optimisers.values():
            one.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """See `Optimiser`."""
        for one in self._optimisers.values():
            one.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """See `Optimiser`."""
        return {name: one.state_dict() for name, one in self._optimisers.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `Optimiser`."""
        for name, one in self._optimisers.items():
            one.load_state_dict(state_dict[name])


def make_optimiser(model: nn.Module, settings: OptimiserConfig) -> Optimiser:
    """The optimiser of the setting `algorithm`; only matrices decay, biases and norms do not.

    "adamw": AdamW (Loshchilov and Hutter, 2019) for all, in one fused pass.

    "muon": for hidden matrices the nearest orthogonal matrix to their momentum, by Newton-Schulz iterations
    in bf16 (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), scaled to the
    size of AdamW's updates, so that one learning rate serves both (Liu et al., "Muon is scalable for LLM
    training", 2025). The output's matrix, the last of a model, and all vectors have AdamW. The iterations
    take as long whatever the size of a batch: larger ones pay less for them.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    if settings.algorithm == "adamw":
        return _adamw(matrices, vectors, settings)
    *hidden, output = matrices
    joined: dict[str, torch.optim.Optimizer] = {"adamw": _adamw([output], vectors, settings)}
    if hidden:
        joined["muon"] = torch.optim.Muon(
            hidden,
            lr=settings.peak_learning_rate,
            weight_decay=settings.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
    return Joined(joined)


def _adamw(
    matrices: Sequence[nn.Parameter], vectors: Sequence[nn.Parameter], settings: OptimiserConfig
) -> torch.optim.AdamW:
    groups = [
        {"params": list(matrices), "weight_decay": settings.weight_decay},
        {"params": list(vectors), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_learning_rate, fused=True)
