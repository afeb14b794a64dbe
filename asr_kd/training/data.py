"""What networks learn from: arrays with a row a frame, of one part of a corpus or several."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex

# Of a chunk in a shard: where it lies, and its place in the order.
PLACE_BYTES = 24


@dataclass(frozen=True, eq=False)
class PerFrame:
    """An array with one row a frame, and where each utterance lies in it."""

    index: FrameIndex
    array: np.ndarray

    def of(self, utterance_id: str) -> np.ndarray:
        """The rows of one utterance.

        Raises:
            AsrKdError: it is not there.
        """
        if utterance_id not in self.index.position:
            raise AsrKdError(f"utterance {utterance_id} is missing in a target array; run its stage again")
        return self.array[self.index.span(utterance_id)]

    @property
    def dtype(self) -> np.dtype:
        """Of the elements, as stored."""
        return self.array.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Of one frame."""
        return self.array.shape[1:]

    def ids(self) -> Iterable[str]:
        """Of all utterances."""
        return self.index.ids

    def length(self, utterance_id: str) -> int:
        """Frames of one utterance."""
        span = self.index.span(utterance_id)
        return span.stop - span.start


class Joined:
    """Arrays of several parts as one, e.g. the training part and perturbed copies of it."""

    def __init__(self, parts: "Sequence[Frames]") -> None:
        """Join parts.

        Raises:
            AsrKdError: an utterance id is in two of them.
        """
        self._owner: dict[str, Frames] = {}
        for part in parts:
            if shared := sorted(self._owner.keys() & set(part.ids())):
                raise AsrKdError(
                    f"{len(shared)} utterances are in two parts of the transfer set, first {shared[0]}; "
                    "rename them in one of the two"
                )
            self._owner |= dict.fromkeys(part.ids(), part)
        self.dtype: np.dtype = parts[0].dtype
        self.row_shape: tuple[int, ...] = parts[0].row_shape

    def of(self, utterance_id: str) -> np.ndarray:
        """See `PerFrame.of`."""
        if utterance_id not in self._owner:
            raise AsrKdError(f"utterance {utterance_id} is missing in a target array; run its stage again")
        return self._owner[utterance_id].of(utterance_id)

    def ids(self) -> Iterable[str]:
        """Of all utterances."""
        return self._owner

    def length(self, utterance_id: str) -> int:
        """Frames of one utterance."""
        return self._owner[utterance_id].length(utterance_id)


Frames = PerFrame | Joined


@dataclass(frozen=True, eq=False)
class FrameData:
    """What a network is trained on, or measured on.

    Attributes:
        features: ``(frames, dims)`` float16.
        targets: by name, e.g. ``labels`` ``(frames,)`` int32; each with an index of its own.
        utterances: the ids that are used.
        draw: gives the frames that an epoch learns from: a mask ``(frames,)`` over those of `utterances`, end
            to end, as a function of seed and epoch; none: all, in every epoch.
    """

    features: Frames
    targets: Mapping[str, Frames]
    utterances: Sequence[str]
    draw: Callable[[int, int], np.ndarray] | None = None

    @property
    def dims(self) -> int:
        """Features of one frame."""
        return int(self.features.row_shape[0])

    def lengths(self) -> np.ndarray:
        """Frames of each utterance used, ``(utterances,)``."""
        return np.array([self.features.length(utterance_id) for utterance_id in self.utterances])

    def bytes_a_frame(self) -> int:
        """Memory that a frame takes in a shard: features, targets, and where its chunk lies."""
        held = [self.features, *self.targets.values()]
        return sum(held_bytes(one.dtype, one.row_shape) for one in held) + PLACE_BYTES


def join(parts: Sequence[FrameData]) -> FrameData:
    """Several parts as one; all with the same targets."""
    if len(parts) == 1:
        return parts[0]
    return FrameData(
        Joined([part.features for part in parts]),
        {name: Joined([part.targets[name] for part in parts]) for name in parts[0].targets},
        [utterance_id for part in parts for utterance_id in part.utterances],
    )


def labelled(labels: PerFrame) -> list[str]:
    """The utterances that have a label on at least one frame; an alignment that failed left -1 everywhere."""
    return [utterance_id for utterance_id in labels.ids() if (labels.of(utterance_id) >= 0).any()]


def held_bytes(dtype: np.dtype, row_shape: tuple[int, ...]) -> int:
    """Memory that a row of an array takes in a shard."""
    return held_type(dtype).itemsize * int(np.prod(row_shape))


def held_type(dtype: np.dtype) -> np.dtype:
    # torch has few operations for uint16
    return np.dtype(np.int32) if dtype == np.uint16 else dtype
