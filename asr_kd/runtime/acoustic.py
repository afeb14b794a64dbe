"""From frames as they come to senone posteriors: normalisation and network, block by block."""

from collections.abc import Iterator

import numpy as np

from asr_kd.decoding.network import BLOCK_FRAMES, OnnxNetwork, log_softmax
from asr_kd.runtime.normalise import RunningNormaliser, TrainingStatistics

# Heard before the first frame is normalised for good: the network looks at them twice.
FIRST_FRAMES = 96


class AcousticStream:
    """Posteriors of one stream of features.

    What comes out depends on the features alone, not on the portions in which they come: blocks are counted
    from the first frame, and each is normalised with what the blocks before it taught.
    """

    def __init__(self, network: OnnxNetwork, training: TrainingStatistics) -> None:
        self._network = network
        self._normaliser = RunningNormaliser(training)
        dims = network.input_dims
        self._raw = np.zeros((0, dims), np.float32)  # from the current block's first frame on
        self._normalised = np.zeros((0, dims), np.float32)  # from its left context on
        self._to_skip = 0  # frames that were learnt from beforehand
        self._started = False

    def accept(self, frames: np.ndarray) -> list[np.ndarray]:
        """Take ``(frames, dims)``; the blocks ``(frames, senones)`` of log posteriors now complete."""
        self._raw = np.concatenate([self._raw, frames])
        return list(self._blocks(finish=False))

    def finish(self) -> list[np.ndarray]:
        """The last blocks; beyond the last frame it repeats."""
        return list(self._blocks(finish=True))

    def _blocks(self, finish: bool) -> Iterator[np.ndarray]:
        if not self._started and len(self._raw) and (finish or len(self._raw) >= FIRST_FRAMES):
            self._start()
        needed = BLOCK_FRAMES + self._network.right_context
        while self._started and len(self._raw) and (finish or len(self._raw) >= needed):
            yield self._block(min(BLOCK_FRAMES, len(self._raw)))

    def _start(self) -> None:
        first = self._raw[:FIRST_FRAMES]
        self._normaliser.learn(first, self._network.log_posteriors(self._normaliser.apply(first)))
        self._to_skip, self._started = len(first), True
        edge = self._normaliser.apply(first[:1])
        self._normalised = np.repeat(edge, self._network.left_context, axis=0)

    def _block(self, size: int) -> np.ndarray:
        left, right = self._network.left_context, self._network.right_context
        known = len(self._normalised) - left
        self._normalised = np.concatenate(
            [self._normalised, self._normaliser.apply(self._raw[known : size + right])]
        )
        missing = left + size + right - len(self._normalised)
        padded = (
            np.pad(self._normalised, ((0, missing), (0, 0)), mode="edge") if missing else self._normalised
        )
        posteriors = log_softmax(self._network.logits(padded))
        fresh = min(self._to_skip, size)
        self._to_skip -= fresh
        if fresh < size:
            self._normaliser.learn(self._raw[fresh:size], posteriors[fresh:])
        # Views: copies of all that is left would make the time of a long portion quadratic.
        self._raw, self._normalised = self._raw[size:], self._normalised[size:]
        return posteriors
