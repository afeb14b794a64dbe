"""Low rank: matrices as products of two thin ones, by singular value decomposition.

Xue, Li and Gong, "Restructuring of Deep Neural Network Acoustic Models with Singular Value Decomposition"
(2013). Here the ranks of all matrices are chosen together.
"""

import torch
from torch import Tensor

from asr_kd.compression.networks import Shape, rebuild, shape_of
from asr_kd.models.dnn import WindowedNetwork


def least_multiply_adds(shape: Shape) -> int:
    """What is left where every matrix has rank 1."""
    return sum(_costs([1] * len(shape.matrices), shape))


def choose_ranks(spectra: list[Tensor], shape: Shape, multiply_adds: float) -> tuple[int, ...]:
    """A rank for each matrix, 0 where it stays whole, with at most so many multiply-adds in all.

    Singular values are given up in the order of their squares, as shares of their matrix', for each
    multiply-add that they cost. A product is cheaper only below rank ``rows * columns / (rows + columns)``.

    Args:
        spectra: singular values of each matrix, descending.
        shape: of the network.
        multiply_adds: the most there may be.
    """
    worth, owner = [], []
    for place, (values, (rows, columns)) in enumerate(zip(spectra, shape.matrices, strict=True)):
        worth.append(values.square() / values.square().sum() / (rows + columns))
        owner += [place] * len(values)
    ranks = [len(values) for values in spectra]
    costs = _costs(ranks, shape)
    for place in torch.cat(worth).argsort(stable=True).tolist():
        if sum(costs) <= multiply_adds:
            break
        matrix = owner[place]
        if ranks[matrix] > 1:
            ranks[matrix] -= 1
            rows, columns = shape.matrices[matrix]
            costs[matrix] = min(ranks[matrix] * (rows + columns), rows * columns)
    return tuple(
        rank if rank * (rows + columns) < rows * columns else 0
        for rank, (rows, columns) in zip(ranks, shape.matrices, strict=True)
    )


def _costs(ranks: list[int], shape: Shape) -> list[int]:
    return [
        min(rank * (rows + columns), rows * columns)
        for rank, (rows, columns) in zip(ranks, shape.matrices, strict=True)
    ]


def factorise(model: WindowedNetwork, share: float, full: int) -> WindowedNetwork:
    """A network with at most `share` of `full` multiply-adds, its matrices as products of two."""
    shape, weights = shape_of(model), whole_weights(model)
    names = [f"layers.linear{layer}" for layer in range(len(shape.units))] + ["layers.output"]
    parts = [torch.linalg.svd(weights[f"{name}.weight"], full_matrices=False) for name in names]
    ranks = choose_ranks([values for _, values, _ in parts], shape, share * full)
    for name, rank, (left, values, right) in zip(names, ranks, parts, strict=True):
        if rank:
            # Half of each singular value to either side: factors of like size train alike.
            root = values[:rank].sqrt()
            factor = "layers.output_factor" if name == "layers.output" else name.replace("linear", "factor")
            weights[f"{factor}.weight"] = (root[:, None] * right[:rank]).contiguous()
            weights[f"{name}.weight"] = (left[:, :rank] * root).contiguous()
    return rebuild(model, shape.units, ranks, weights)


def whole_weights(model: WindowedNetwork) -> dict[str, Tensor]:
    """The weights with factors multiplied out."""
    weights = dict(model.state_dict())
    for name in [name for name in weights if "factor" in name]:
        factor = weights.pop(name)
        whole = name.replace("output_factor", "output").replace("factor", "linear")
        weights[whole] = weights[whole] @ factor
    return weights
