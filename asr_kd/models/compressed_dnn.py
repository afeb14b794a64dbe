"""What pruning and factorisation leave of a `Dnn`: layers of different widths, matrices as two factors."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from asr_kd.models.base import MOST_CONTEXT, MOST_LAYERS, ModelSettings
from asr_kd.models.dnn import WindowedNetwork
from asr_kd.models.normalisation import BatchNorm


@dataclass(frozen=True)
class CompressedDnnSettings(ModelSettings):
    """Made by `compression`, not by hand; there is no dropout in what was trained already."""

    kind: ClassVar[str] = "compressed_dnn"
    units: tuple[int, ...] = ()  # of each hidden layer
    ranks: tuple[int, ...] = ()  # of each matrix, the output's last; 0: not factorised
    left_context: int = 0
    right_context: int = 0
    batch_norm: bool = True

    def __post_init__(self) -> None:
        some = 1 <= len(self.units) <= MOST_LAYERS and min(self.units) >= 1
        self.require("units", some, f"a list of 1 to {MOST_LAYERS} widths")
        for name in ("left_context", "right_context"):
            self.require_range(name, 0, MOST_CONTEXT)
        paired = len(self.ranks) == len(self.units) + 1 and min(self.ranks) >= 0
        self.require("ranks", paired, "a list of ranks, one for each of `units` and one for the output")


class CompressedDnn(WindowedNetwork):
    """As `Dnn`; a factorised matrix ``linear<i>`` has ``factor<i>`` before it: W x = linear (factor x)."""

    def __init__(self, settings: CompressedDnnSettings, input_dims: int, senones: int) -> None:
        super().__init__(settings, input_dims, senones)
        self.left_context, self.right_context = settings.left_context, settings.right_context
        self.window = settings.left_context + 1 + settings.right_context

        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = self.window * input_dims
        for layer, (units, rank) in enumerate(zip(settings.units, settings.ranks, strict=False)):
            if rank:
                layers[f"factor{layer}"] = nn.Linear(width, rank, bias=False)
            layers[f"linear{layer}"] = nn.Linear(rank or width, units, bias=not settings.batch_norm)
            if settings.batch_norm:
                layers[f"norm{layer}"] = BatchNorm(units)
            layers[f"relu{layer}"] = nn.ReLU()
            width = units
        rank = settings.ranks[-1]
        if rank:
            layers["output_factor"] = nn.Linear(width, rank, bias=False)
        layers["output"] = nn.Linear(rank or width, senones)
        self.layers = nn.Sequential(layers)
