"""Gradients of a batch that is too large to be computed at once: part by part, added up.

Loss and gradient are those of the whole batch but for rounding, on a CPU with the same dropout as well. Batch
normalisation is the exception: it takes mean and variance of each part.
"""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from asr_kd.models.dropout import part_of_batch
from asr_kd.training.data import Batch
from asr_kd.training.objectives import Objective

# Gives the logits ``(frames, senones)`` of inputs ``(chunks, window, dims)``, padding included.
Forward = Callable[[Tensor], Tensor]


def backward(forward: Forward, objective: Objective, batch: Batch, chunks: int, seed: int) -> float:
    """Add the gradient of the loss of a batch to that of the weights; returns the loss.

    Args:
        forward: the network.
        objective: what it is trained for.
        batch: one update's data.
        chunks: to be computed at once, at most.
        seed: of the dropout.
    """
    total, whole, frames = 0.0, len(batch.inputs), 0
    parts = -(-whole // chunks)
    # Of about one size: batch normalisation has no variance of a single frame.
    for first, last in pairwise(whole * number // parts for number in range(parts + 1)):
        part, frames = _part(batch, first, last, frames)
        # From torch's generator: seeded anew, every part draws what the whole batch would.
        torch.manual_seed(seed)
        with part_of_batch(first, whole) if parts > 1 else nullcontext():
            logits = forward(part.inputs)
        if part.counted is not None:
            logits = logits[part.counted]
        given = (batch.targets,) if parts > 1 else ()
        loss = objective(logits.float(), part.targets, *given)
        total += loss.item()
        loss.backward()
    return total


def _part(batch: Batch, first: int, last: int, frames: int) -> tuple[Batch, int]:
    """Some chunks of a batch whose frames begin at `frames`, and where those of the next ones do."""
    if (first, last) == (0, len(batch.inputs)):
        return batch, frames
    counted = None
    if batch.counted is None:
        end = frames + (last - first) * (len(next(iter(batch.targets.values()))) // len(batch.inputs))
    else:
        counted = batch.counted.view(len(batch.inputs), -1)[first:last].flatten()
        end = frames + int(counted.sum())
    targets = {name: target[frames:end] for name, target in batch.targets.items()}
    return Batch(batch.inputs[first:last], counted, targets), end


def normalises_batches(model: nn.Module) -> bool:
    """Whether a part of a batch is computed otherwise than in the whole."""
    return any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules())
