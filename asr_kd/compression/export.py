"""From torch to ONNX, accepted only when both give the same posteriors on real features."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from asr_kd.decoding.network import INPUT, OUTPUT, OnnxNetwork
from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel
from asr_kd.models.inference import log_posteriors

OPSET = 20
# float32 in another order of summation moves logits by about 1e-5, a wrong window or layer by whole units.
LARGEST_DIFFERENCE = 1e-3
_TRACED_FRAMES = 64


@dataclass(frozen=True)
class Agreement:
    """How close an exported network comes to the one it was made from.

    Attributes:
        frames: compared.
        max_difference: the largest absolute difference of two log posteriors, of senones above `VISIBLE`.
        divergence: Kullback-Leibler divergence of the export from the original, nats a frame.
        same_best: share of frames with the same most probable senone.
    """

    frames: int
    max_difference: float
    divergence: float
    same_best: float

    def to_json(self) -> dict[str, float]:
        """For ``export.json``."""
        return asdict(self)


# Posteriors below this decide nothing, and their logarithms differ by rounding alone.
VISIBLE = 1e-6


def export_network(model: AcousticModel, path: Path) -> None:
    """Write a network as ONNX, with what its user must know about it as metadata.

    The graph takes ``frames`` ``(1, left_context + n + right_context, input_dims)`` float32 for any n and
    gives ``logits`` ``(1, n, senones)``. Batch normalisation is folded into the layers before it.
    """
    model = deepcopy(model).cpu().eval()
    context = model.left_context + model.right_context
    example = torch.zeros(1, context + _TRACED_FRAMES, model.input_dims)
    frames = torch.export.Dim("n", min=context + 1)
    with _without_messages():
        torch.onnx.export(
            model,
            (example,),
            str(path),
            dynamo=True,
            dynamic_shapes=({1: frames},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    describe(path, model)


def describe(path: Path, model: AcousticModel) -> None:
    """Put the metadata that `OnnxNetwork` reads into an ONNX file."""
    network = onnx.load(path)
    known = {
        "left_context": model.left_context,
        "right_context": model.right_context,
        "input_dims": model.input_dims,
        "senones": model.senones,
        "parameters": model.parameter_count,
    }
    onnx.helper.set_model_props(network, {key: str(value) for key, value in known.items()})
    for node in network.graph.node:  # where torch's source lines were: no use, and paths of this machine
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.save(network, path)


def compare(model: AcousticModel, network: OnnxNetwork, utterances: Sequence[np.ndarray]) -> Agreement:
    """Compare posteriors on utterances ``(frames, dims)`` of normalised features."""
    frames, largest, divergence, same = 0, 0.0, 0.0, 0
    for features in utterances:
        wanted = log_posteriors(model, features, "cpu").numpy()
        found = network.log_posteriors(features)
        probabilities = np.exp(wanted)
        # Of what is not a number neither comparison is true, and it must not be lost here or in the maximum.
        difference = np.abs(wanted - found)[~(probabilities <= VISIBLE)]
        frames += len(wanted)
        largest = float(np.maximum(largest, difference.max(initial=0.0)))
        divergence += float((probabilities * (wanted - found)).sum(dtype=np.float64))
        same += int((wanted.argmax(axis=1) == found.argmax(axis=1)).sum())
    return Agreement(frames, largest, divergence / max(frames, 1), same / max(frames, 1))


def export_checked(model: AcousticModel, path: Path, utterances: Sequence[np.ndarray]) -> Agreement:
    """`export_network`, then `compare`.

    Raises:
        AsrKdError: the export gives other posteriors, or none that are numbers, or there are no frames;
            nothing is left at `path`.
    """
    if not any(map(len, utterances)):
        raise AsrKdError(f"{path.name}: no frames to compare the exported network on: the dev part is empty")
    export_network(model, path)
    try:
        agreement = compare(model, OnnxNetwork(path), utterances)
        if not agreement.max_difference <= LARGEST_DIFFERENCE:
            raise AsrKdError(
                f"{path.name}: log posteriors of the exported network differ by "
                f"{agreement.max_difference:.2g} from those of the network itself (allowed: "
                f"{LARGEST_DIFFERENCE}); its kind {type(model).__name__} cannot be exported with these "
                "versions of torch and ONNX"
            )
    except AsrKdError:
        path.unlink()
        raise
    return agreement


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """The exporter talks about packages it could also export for."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
