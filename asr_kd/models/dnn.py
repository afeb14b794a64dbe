"""The windowed feed-forward network of Hinton, Vinyals and Dean (2015), section 3."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from asr_kd.models.base import MOST_CONTEXT, MOST_LAYERS, AcousticModel, ModelSettings
from asr_kd.models.dropout import Dropout
from asr_kd.models.normalisation import BatchNorm


@dataclass(frozen=True)
class DnnSettings(ModelSettings):
    """Defaults are a small net for a few hours of speech; preset `hinton2015` is the paper's."""

    kind: ClassVar[str] = "dnn"
    hidden_layers: int = 4
    hidden_units: int = 512
    left_context: int = 20  # the paper's window: 26 frames, of which 20 lie before the predicted one
    right_context: int = 5
    batch_norm: bool = True
    dropout: float = 0.2

    def __post_init__(self) -> None:
        self.require_range("hidden_layers", 1, MOST_LAYERS)
        self.require("hidden_units", self.hidden_units >= 1, "at least 1")
        for name in ("left_context", "right_context"):
            self.require_range(name, 0, MOST_CONTEXT)
        self.require("dropout", 0.0 <= self.dropout < 1.0, "in [0, 1)")


class WindowedNetwork(AcousticModel):
    """Layers that see a window of frames as one row.

    Attributes:
        window: frames.
        layers: from ``(rows, window * input_dims)`` to ``(rows, senones)``.
    """

    window: int
    layers: nn.Sequential

    def forward(self, frames: Tensor) -> Tensor:
        """See `AcousticModel.forward`."""
        batch, _, dims = frames.shape
        # (batch, n, dims, window) -> (batch * n, window * dims): one row a window, frame after frame. With
        # n = 1 the row is the input itself and nothing is copied.
        windows = frames.unfold(1, self.window, 1).transpose(2, 3)
        logits = self.layers(windows.reshape(-1, self.window * dims))
        return logits.view(batch, -1, self.senones)


class Dnn(WindowedNetwork):
    """Rectified linear layers on a window of frames."""

    def __init__(self, settings: DnnSettings, input_dims: int, senones: int) -> None:
        super().__init__(settings, input_dims, senones)
        self.left_context, self.right_context = settings.left_context, settings.right_context
        self.window = settings.left_context + 1 + settings.right_context

        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = self.window * input_dims
        for layer in range(settings.hidden_layers):
            # Batch normalisation subtracts the mean, and any bias with it.
            layers[f"linear{layer}"] = nn.Linear(width, settings.hidden_units, bias=not settings.batch_norm)
            if settings.batch_norm:
                layers[f"norm{layer}"] = BatchNorm(settings.hidden_units)
            layers[f"relu{layer}"] = nn.ReLU()
            layers[f"dropout{layer}"] = Dropout(settings.dropout)
            width = settings.hidden_units
        layers["output"] = nn.Linear(width, senones)
        self.layers = nn.Sequential(layers)
