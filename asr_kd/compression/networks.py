"""Views of a windowed network that compression works on."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel, build
from asr_kd.models.compressed_dnn import CompressedDnn, CompressedDnnSettings
from asr_kd.models.dnn import WindowedNetwork


@dataclass(frozen=True)
class Shape:
    """The sizes of a windowed network.

    Attributes:
        inputs: numbers in one window.
        units: of each hidden layer.
        senones: classes.
    """

    inputs: int
    units: tuple[int, ...]
    senones: int

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Outputs and inputs of every matrix."""
        widths = [self.inputs, *self.units, self.senones]
        return list(zip(widths[1:], widths[:-1], strict=True))

    @property
    def multiply_adds(self) -> int:
        """Of one frame."""
        return sum(rows * columns for rows, columns in self.matrices)


def check_compressible(model: AcousticModel, name: str) -> WindowedNetwork:
    """The model, if we know how to prune its kind.

    Raises:
        AsrKdError: we do not.
    """
    if not isinstance(model, WindowedNetwork):
        raise AsrKdError(
            f"{name}: only models of kind dnn can be pruned, not {type(model).__name__.lower()}; "
            "take it out of compress.pruned (it can be quantised)"
        )
    return model


def shape_of(model: WindowedNetwork) -> Shape:
    """The sizes of a network, whatever its factors."""
    units = tuple(layer.out_features for layer in hidden_linears(model))
    return Shape(model.window * model.input_dims, units, model.senones)


def multiply_adds(model: nn.Module) -> int:
    """Of one frame, factors counted as what they are."""
    return sum(layer.weight.numel() for layer in model.modules() if isinstance(layer, nn.Linear))


def hidden_linears(model: WindowedNetwork) -> list[nn.Linear]:
    """The layers ``linear0``, ``linear1``, ..."""
    return [layer for name, layer in model.layers.named_children() if name.startswith("linear")]  # type: ignore[misc]


def rebuild(
    model: WindowedNetwork, units: tuple[int, ...], ranks: tuple[int, ...], weights: dict[str, Tensor]
) -> WindowedNetwork:
    """A network of other sizes with given weights; windows and normalisation stay."""
    settings: dict[str, Any] = {
        "kind": CompressedDnnSettings.kind,
        "units": units,
        "ranks": ranks,
        "left_context": model.left_context,
        "right_context": model.right_context,
        "batch_norm": any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()),
    }
    smaller = build(settings, model.input_dims, model.senones, seed=0)
    assert isinstance(smaller, CompressedDnn)
    smaller.load_state_dict(weights)
    return smaller
