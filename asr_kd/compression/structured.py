"""Structured pruning: whole hidden units go, and every matrix shrinks in fact.

A unit matters as much as the loss would change without it: to first order the activation times the gradient
of the loss, here squared and summed over frames (Molchanov et al., "Pruning Convolutional Neural Networks for
Resource Efficient Inference", 2017). As there, the norm of its scores makes layers comparable: without
that one layer alone is emptied until nothing passes it.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from asr_kd.compression.networks import Shape, rebuild, shape_of
from asr_kd.models.dnn import WindowedNetwork
from asr_kd.training.loader import Batch

SMALLEST_LAYER = 16  # units that every layer keeps


def importance(
    model: WindowedNetwork, batches: Iterable[Batch], loss: Callable[[Tensor, dict[str, Tensor]], Tensor]
) -> list[Tensor]:
    """How much each hidden unit matters, by layer ``(units,)`` float64, each of norm 1."""
    rectifiers = [layer for layer in model.layers if isinstance(layer, nn.ReLU)]
    scores: list[Tensor] = [torch.zeros(()) for _ in rectifiers]
    active: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *call: active.append(call[2])) for layer in rectifiers]
    model.eval()
    for batch in batches:
        active.clear()
        logits = model(batch.inputs.float()).flatten(0, 1)
        found = torch.autograd.grad(loss(logits, batch.targets), active)
        for place, (units, gradient) in enumerate(zip(active, found, strict=True)):
            effect = (units.detach() * gradient).double().square().sum(dim=0)
            scores[place] = scores[place] + effect
    for hook in hooks:
        hook.remove()
    return [normalize(score.sqrt(), dim=0) for score in scores]


def least_multiply_adds(shape: Shape) -> int:
    """What is left where every layer has as few units as it may."""
    units = tuple(min(width, SMALLEST_LAYER) for width in shape.units)
    return Shape(shape.inputs, units, shape.senones).multiply_adds


def choose_units(scores: list[Tensor], shape: Shape, multiply_adds: float) -> list[Tensor]:
    """The units to keep, by layer as ascending places, so that the network has at most so many multiply-adds.

    Units go in the order of what they matter for each multiply-add that they cost.
    """
    widths = [shape.inputs, *shape.units, shape.senones]
    costs = [widths[layer] + widths[layer + 2] for layer in range(len(scores))]
    worth = torch.cat([score / cost for score, cost in zip(scores, costs, strict=True)])
    layers = torch.cat([torch.full((len(score),), layer) for layer, score in enumerate(scores)])
    order = worth.argsort(stable=True)
    kept, units = torch.ones(len(worth), dtype=torch.bool), list(shape.units)
    for place in order.tolist():
        if Shape(shape.inputs, tuple(units), shape.senones).multiply_adds <= multiply_adds:
            break
        layer = int(layers[place])
        if units[layer] > SMALLEST_LAYER:
            kept[place] = False
            units[layer] -= 1
    return [own.nonzero().flatten() for own in kept.split(list(shape.units))]


def keep_units(model: WindowedNetwork, kept: list[Tensor]) -> WindowedNetwork:
    """The network without the other units: what is left computes as before."""
    weights = dict(model.state_dict())
    inputs: Tensor | None = None  # places of the inputs of a matrix that are left
    for layer, units in enumerate(kept):
        for name, weight in weights.items():
            if name.startswith((f"layers.linear{layer}.", f"layers.norm{layer}.")) and weight.dim():
                weights[name] = weight[units]
        _take_columns(weights, f"layers.linear{layer}.weight", inputs)
        inputs = units
    _take_columns(weights, "layers.output.weight", inputs)
    counts = tuple(len(units) for units in kept)
    return rebuild(model, counts, (0,) * (len(counts) + 1), weights)


def _take_columns(weights: dict[str, Tensor], name: str, places: Tensor | None) -> None:
    if places is not None:
        weights[name] = weights[name][:, places].contiguous()


def prune_units(
    model: WindowedNetwork,
    share: float,
    batches: Iterable[Batch],
    loss: Callable[[Tensor, dict[str, Tensor]], Tensor],
    full: int,
) -> WindowedNetwork:
    """A network with at most `share` of `full` multiply-adds, its least important units removed."""
    kept = choose_units(importance(model, batches, loss), shape_of(model), share * full)
    return keep_units(model, kept)
