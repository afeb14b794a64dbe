"""Models on disk: weights as safetensors, the architecture as JSON. No pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from asr_kd.errors import AsrKdError
from asr_kd.models.base import AcousticModel
from asr_kd.models.registry import build

WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"


# A sparse tensor is stored as which of its values are not zero, a bit each, and these values in turn.
_MASK, _VALUES = ".nonzero", ".values"
_LARGEST_SIZE = 10_000_000  # of a description's sizes: far above any that is in use


def save_model(folder: Path, model: AcousticModel, sparse: bool = False) -> None:
    """Write ``model.safetensors`` and ``model.json`` (`AcousticModel.description`) into `folder`.

    Args:
        folder: where to.
        model: of any registered kind.
        sparse: leave the zeros of matrices out.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if sparse:
        weights = _without_zeros(weights)
    save_file(weights, folder / WEIGHTS_FILE)
    text = json.dumps(model.description(), indent=1)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def stored_bytes(*folders: Path) -> int:
    """The size of all files in some models' folders."""
    return sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file())


def load_model(folder: Path, device: torch.device | str = "cpu") -> AcousticModel:
    """The model in `folder`, ready for inference.

    Raises:
        AsrKdError: a file is missing or damaged, or a weight is missing, unknown, of the wrong shape or not
            finite; names the file and the weight.
    """
    model = _architecture(folder)
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise AsrKdError(
            f"{path} cannot be read as safetensors ({error}); train the model again or copy it anew"
        ) from error
    weights = _with_zeros(path, weights, model.state_dict())
    _check_weights(path, weights, model.state_dict())
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()


def read_description(folder: Path) -> dict[str, Any]:
    """The `AcousticModel.description` of the model in `folder`: equal for models of one architecture.

    Raises:
        AsrKdError: there is none, or it is damaged.
    """
    path = folder / DESCRIPTION_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AsrKdError(
            f"{path} cannot be read ({error.strerror}); it must lie beside the weights"
        ) from error
    except (ValueError, RecursionError) as error:
        raise AsrKdError(f"{path} does not describe a model ({error!r}); copy the folder anew") from error
    return content


def _architecture(folder: Path) -> AcousticModel:
    content = read_description(folder)
    try:
        settings = {"kind": content["kind"], **content["settings"]}
        with torch.device("meta"):  # shapes alone: nothing is allocated before the weights' own shapes agree
            return build(settings, _size(content, "input_dims"), _size(content, "senones"))
    except AsrKdError as error:
        raise AsrKdError(f"{folder / DESCRIPTION_FILE}: {error}") from None
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise AsrKdError(
            f"{folder / DESCRIPTION_FILE} does not describe a model ({error!r}); copy the folder anew"
        ) from error


def _size(content: Mapping[str, Any], name: str) -> int:
    size = content[name]
    if type(size) is not int or not 1 <= size <= _LARGEST_SIZE:
        raise ValueError(f"{name}={size!r}")
    return size


def _check_weights(path: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise AsrKdError(f"{path} has no weight {name}, which its {DESCRIPTION_FILE} asks for")
        if name not in expected:
            raise AsrKdError(f"{path} has a weight {name} that its {DESCRIPTION_FILE} does not know")
        got, want = found[name], expected[name]
        if got.shape != want.shape or got.dtype != want.dtype:
            raise AsrKdError(
                f"{path}: weight {name} is {got.dtype} {tuple(got.shape)}, "
                f"but its {DESCRIPTION_FILE} asks for {want.dtype} {tuple(want.shape)}"
            )
        if not torch.isfinite(got).all():
            raise AsrKdError(f"{path}: weight {name} has values that are not finite; train the model again")


def _without_zeros(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stored = {}
    for name, weight in weights.items():
        if weight.dim() < 2:
            stored[name] = weight
            continue
        nonzero = weight != 0
        stored[name + _MASK] = torch.from_numpy(np.packbits(nonzero.numpy().ravel()))
        stored[name + _VALUES] = weight[nonzero]
    return stored


def _with_zeros(
    path: Path, stored: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    weights = dict(stored)
    for name in [name.removesuffix(_MASK) for name in stored if name.endswith(_MASK)]:
        bits, values = weights.pop(name + _MASK), weights.pop(name + _VALUES, None)
        shape = expected[name].shape if name in expected else torch.Size([0])
        misfit = AsrKdError(f"{path}: the sparse weight {name} does not fit its {DESCRIPTION_FILE}")
        if bits.dtype != torch.uint8 or bits.shape != (-(-shape.numel() // 8),):
            raise misfit
        nonzero = torch.from_numpy(np.unpackbits(bits.numpy(), count=shape.numel()).astype(bool))
        if values is None or values.shape != (int(nonzero.sum()),):
            raise misfit
        weights[name] = (
            torch.zeros(shape.numel(), dtype=values.dtype).masked_scatter(nonzero, values).view(shape)
        )
    return weights
