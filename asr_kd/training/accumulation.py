"""Gradients of a batch that is too large to be computed at once, or by one process: part by part, added up.

Loss and gradient are those of the whole batch but for rounding, on a CPU with the same dropout as well. Batch
normalisation is the exception: it takes mean and variance of each part.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from asr_kd.models.dropout import part_of_batch
from asr_kd.models.normalisation import joint_batches
from asr_kd.training.loader import Batch, Place
from asr_kd.training.objectives import Objective

# Gives the logits ``(frames, senones)`` of inputs ``(chunks, window, dims)``, padding included.
Forward = Callable[[Tensor], Tensor]
Hold = Callable[[], AbstractContextManager[None]]


def backward(
    forward: Forward, objective: Objective, batch: Batch, chunks: int, seed: int, hold: Hold = nullcontext
) -> float:
    """Add the gradient of the loss of a batch to that of the weights; returns the loss.

    Of several processes each adds the gradient of its share, and gets the loss of that, both times
    `Place.gain`: means over all processes are gradient and loss of the batch.

    Args:
        forward: the network.
        objective: what it is trained for.
        batch: one update's data, or a process' share of them.
        chunks: to be computed at once, at most.
        seed: of the dropout.
        hold: for all parts but the last: inside, gradients are not yet shared with other processes.
    """
    total, own, frames = 0.0, len(batch.inputs), 0
    place = batch.place or Place(0, own, batch.targets)
    parts = -(-own // chunks)
    divided = parts > 1 or batch.place is not None
    # Of about one size: batch normalisation has no variance of a single frame.
    for number, (first, last) in enumerate(pairwise(own * part // parts for part in range(parts + 1)), 1):
        part, frames = _part(batch, first, last, frames)
        with nullcontext() if number == parts else hold():
            # From torch's generator: seeded anew, every part draws what the whole batch would; on a GPU it
            # cannot, and draws at least something else than the others.
            torch.manual_seed(seed + (place.first + first if part.inputs.is_cuda else 0))
            with (
                part_of_batch(place.first + first, place.chunks) if divided else nullcontext(),
                joint_batches() if batch.place is not None else nullcontext(),
            ):
                logits = forward(part.inputs)
            if part.counted is not None:
                logits = logits[part.counted]
            given = (place.targets,) if divided else ()
            loss = place.gain * objective(logits.float(), part.targets, *given)
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
