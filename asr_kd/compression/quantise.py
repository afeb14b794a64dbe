"""8-bit integer networks, by ONNX Runtime's tools."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from asr_kd.decoding.network import INPUT, padded_blocks
from asr_kd.errors import AsrKdError

METHODS = ("dynamic", "static")


def check_method(method: str) -> None:
    """Refuse an unknown method by name."""
    if method not in METHODS:
        raise AsrKdError(f"quantisation method={method!r} is not known; choose {' or '.join(METHODS)}")


def quantise(source: Path, target: Path, method: str, calibration: Sequence[np.ndarray]) -> None:
    """Write the network `source` with matrix products in 8-bit integers to `target`; metadata are kept.

    Weights are signed, with one scale a matrix: scales by column are a fifth slower and change hardly any
    posterior. "dynamic" takes the scale of activations from every block of frames, "static" from calibration.

    Args:
        source: from `export.export_network`.
        target: where to write.
        method: one of `METHODS`.
        calibration: utterances ``(frames, dims)`` of normalised features, for "static".

    Raises:
        AsrKdError: an unknown method, or static without calibration data.
    """
    check_method(method)
    properties = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    with tempfile.TemporaryDirectory() as scratch, _without_messages():
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        if method == "dynamic":
            quantize_dynamic(
                prepared, target, weight_type=QuantType.QInt8, op_types_to_quantize=["Gemm", "MatMul"]
            )
        else:
            if not any(map(len, calibration)):
                raise AsrKdError("static quantisation needs calibration data: the dev part is empty")
            left, right = int(properties["left_context"]), int(properties["right_context"])
            quantize_static(
                prepared,
                target,
                _Blocks(calibration, left, right),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Gemm", "MatMul"],
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    network = onnx.load(target)
    onnx.helper.set_model_props(network, properties)
    onnx.save(network, target)


class _Blocks(CalibrationDataReader):
    """Blocks of the calibration utterances, as the network will see them."""

    def __init__(self, utterances: Sequence[np.ndarray], left: int, right: int) -> None:
        self._blocks = (
            block[None] for utterance in utterances for block in padded_blocks(utterance, left, right)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        block = next(self._blocks, None)
        return None if block is None else {INPUT: block}


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """The tools recommend their own preparation even where it was done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
