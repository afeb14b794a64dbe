"""Dropout that does not slow training down on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr_kd.models.mapped import is_mapped

# A bank this many times as long as the largest input makes two equal slices in one update unlikely.
BANK_FACTOR = 8


_part: ContextVar[tuple[int, int] | None] = ContextVar("part", default=None)


@contextmanager
def part_of_batch(first: int, rows: int) -> Iterator[None]:
    """Inside, what is computed is a part of a batch of so many `rows`, beginning with the row `first`.

    On a CPU it then gets the masks that it would have in the whole batch, after the same seed.
    """
    token = _part.set((first, rows))
    try:
        yield
    finally:
        _part.reset(token)


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014); on a CPU the masks are slices of a bank drawn beforehand.

    Drawing a Bernoulli variable for every unit costs about as much as a layer's matrix product in bf16; a
    slice that begins at a random place of a fixed bank costs one multiplication. Places come from torch's
    global generator.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, units: Tensor) -> Tensor:
        """Units of any shape, some of them zeroed and the rest scaled up; unchanged in evaluation."""
        if not self.training or self.probability == 0.0:
            return units
        if units.device.type != "cpu" or is_mapped():  # a place in the bank cannot be mapped
            return functional.dropout(units, self.probability)
        return units * _mask(units, self.probability)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"probability={self.probability}"


@torch.compiler.disable  # which would not see the bank and the place that are looked up here
def _mask(units: Tensor, probability: float) -> Tensor:
    """A slice of the bank in the shape of `units`."""
    first, rows = _part.get() or (0, len(units))
    row = units[0].numel()
    count = rows * row
    bank = _mask_bank(probability, units.dtype, 1 << (BANK_FACTOR * count - 1).bit_length())
    start = int(torch.randint(len(bank) - count + 1, ())) + first * row
    return bank[start : start + units.numel()].view(units.shape)


@lru_cache(maxsize=4)
def _mask_bank(probability: float, dtype: torch.dtype, length: int) -> Tensor:
    """Zeros and ``1 / (1 - probability)``, ``(length,)``; always the same: only the slices vary."""
    generator = torch.Generator().manual_seed(length)
    keep = torch.rand(length, generator=generator) >= probability
    return (keep / (1.0 - probability)).to(dtype)
