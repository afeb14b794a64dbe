"""An exported network: ONNX Runtime in the place of torch."""

from pathlib import Path

import numpy as np
import onnxruntime

from asr_kd.errors import AsrKdError

NETWORK_FILE = "network.onnx"
INPUT, OUTPUT = "frames", "logits"
# What a file may say of itself: memory is taken by it.
_RANGES = {
    "left_context": (0, 10_000),
    "right_context": (0, 10_000),
    "input_dims": (1, 100_000),
    "senones": (1, 1_000_000),
    "parameters": (0, 10**12),
}
# Output frames of one call. Networks quantised dynamically take their scales from what one call sees: with a
# fixed size, counted from the first frame, a stream and a file give the same numbers. On one thread 32 frames
# at a time cost at most 5 % more than a whole utterance.
BLOCK_FRAMES = 32


class OnnxNetwork:
    """Frames in, senone posteriors out.

    Attributes:
        left_context: frames that an output frame sees before itself.
        right_context: frames that it sees after itself.
        input_dims: features of one frame.
        senones: classes.
        parameters: trained numbers.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the network in `path`, to compute with so many threads.

        Raises:
            AsrKdError: the file is missing, damaged, was not written by our export, or gives no logits.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # On processors without 8-bit dot products (VNNI) sums of products of uint8 activations and int8
        # weights saturate at 16 bits; with this they are computed in a slower, exact way there.
        options.add_session_config_entry("session.x64quantprecision", "1")
        options.log_severity_level = 3  # errors; warnings are about devices that are not asked for
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            known = self._session.get_modelmeta().custom_metadata_map
            sizes = {name: int(known[name]) for name in _RANGES}
            for name, (lowest, highest) in _RANGES.items():
                if not lowest <= sizes[name] <= highest:
                    raise ValueError(f"{name}={sizes[name]}")
            self.left_context, self.right_context = sizes["left_context"], sizes["right_context"]
            self.input_dims, self.senones = sizes["input_dims"], sizes["senones"]
            self.parameters = sizes["parameters"]
            window = np.zeros((self.left_context + 1 + self.right_context, self.input_dims), np.float32)
            logits = self.logits(window)
            if (
                logits.shape != (1, self.senones)
                or logits.dtype != np.float32
                or not np.isfinite(logits).all()
            ):
                raise ValueError(f"one frame gives {logits.shape} {logits.dtype}, perhaps not finite")
        except Exception as error:  # ONNX Runtime raises bare exceptions of many types
            reason = repr(error).splitlines()[0]
            raise AsrKdError(f"{path} is not a network exported by this program ({reason})") from error

    def logits(self, padded: np.ndarray) -> np.ndarray:
        """``(left_context + n + right_context, input_dims)`` float32 -> ``(n, senones)`` float32."""
        result: np.ndarray = self._session.run([OUTPUT], {INPUT: padded[None]})[0][0]
        return result

    def log_posteriors(self, features: np.ndarray) -> np.ndarray:
        """Natural logarithms of the senone posteriors of one utterance, `BLOCK_FRAMES` frames at a time.

        Args:
            features: ``(frames, input_dims)``, any floating type; beyond the edges the first and last repeat.

        Returns:
            ``(frames, senones)`` float32.
        """
        if not len(features):
            return np.empty((0, self.senones), np.float32)
        blocks = padded_blocks(features, self.left_context, self.right_context)
        return log_softmax(np.concatenate([self.logits(block) for block in blocks]))


def padded_blocks(features: np.ndarray, left: int, right: int) -> list[np.ndarray]:
    """What a network is given of one utterance, call by call.

    Args:
        features: ``(frames, dims)``, any floating type; beyond the edges the first and last repeat.
        left: frames of context before.
        right: frames of context after.

    Returns:
        ``(left + n + right, dims)`` float32 each, n being `BLOCK_FRAMES` but in the last.
    """
    if not len(features):
        return []
    padded = np.pad(features.astype(np.float32), ((left, right), (0, 0)), mode="edge")
    return [
        padded[start : min(start + BLOCK_FRAMES, len(features)) + left + right]
        for start in range(0, len(features), BLOCK_FRAMES)
    ]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Normalised logarithms along the last axis, the type of `logits`."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normalised: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised
