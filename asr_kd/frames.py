"""One layout for everything that exists per frame: features, senone labels, soft targets.

A part of a corpus is one flat array a quantity, its first axis running over all frames of all utterances,
plus one index that says where each utterance lies. Arrays are memory-mapped; a batch is a gather.
"""

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from asr_kd import disk
from asr_kd.errors import AsrKdError

INDEX_FILE = "index.json"


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Where each utterance lies on the frame axis.

    Attributes:
        ids: utterance ids, in the order of the frame axis, each once.
        speakers: the speaker of each utterance.
        offsets: ``(utterances + 1,)`` int64; utterance i is frames ``offsets[i]:offsets[i + 1]``.
    """

    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    offsets: np.ndarray

    @classmethod
    def from_lengths(
        cls, ids: Sequence[str], speakers: Sequence[str], lengths: Sequence[int]
    ) -> "FrameIndex":
        """The index of utterances laid end to end. `lengths` are in frames."""
        offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)
        return cls(tuple(ids), tuple(speakers), offsets)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def total_frames(self) -> int:
        """The number of frames of all utterances."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each utterance, ``(utterances,)`` int64."""
        return np.diff(self.offsets)

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of each utterance id."""
        return {utterance_id: place for place, utterance_id in enumerate(self.ids)}

    def span(self, utterance: int | str) -> slice:
        """The frames of one utterance, by place or by id."""
        place = self.position[utterance] if isinstance(utterance, str) else utterance
        return slice(int(self.offsets[place]), int(self.offsets[place + 1]))

    def spans(self) -> Iterator[tuple[str, slice]]:
        """Every utterance id with its frames."""
        for place, utterance_id in enumerate(self.ids):
            yield utterance_id, self.span(place)

    def sample(self, frames: int) -> range:
        """Places of utterances, spread evenly, that hold about `frames` frames."""
        return range(0, len(self), max(1, self.total_frames // max(1, frames)))

    def ranges(self, frames: int) -> list[range]:
        """Runs of whole utterances of about so many frames each, as places."""
        number = self.offsets[:-1] // max(1, frames)
        starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        return [range(first, last) for first, last in pairwise([*starts, len(self)])]

    def save(self, folder: Path) -> None:
        """Write ``index.json`` into `folder`."""
        content = {"ids": self.ids, "speakers": self.speakers, "offsets": self.offsets.tolist()}
        (folder / INDEX_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "FrameIndex":
        """Read ``index.json`` of `folder`."""
        content = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        offsets = np.asarray(content["offsets"], dtype=np.int64)
        # Speakers have many utterances: one string each is enough.
        return cls(tuple(content["ids"]), tuple(map(sys.intern, content["speakers"])), offsets)


def create_frames(path: Path, frames: int, shape: tuple[int, ...], dtype: Any) -> np.memmap:
    """A new ``.npy`` file of `frames` rows of `shape`, opened for writing; workers may fill separate rows.

    Raises:
        OSError: the disk has no room for it.
    """
    with disk.naming(path):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(frames, *shape))
        # Room is taken at once: where the disk is full, writing to a page that has none kills the process.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def scratch_zeros(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros, float64, in a file that has no name and is gone with the array (and the process).

    Like every memory-mapped file it has no part in private memory.

    Raises:
        OSError: the disk has no room for it.
    """
    if not math.prod(shape):  # no map is empty
        return np.zeros(shape)
    with disk.naming(folder), TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, 8 * math.prod(shape))
        return np.memmap(file, np.float64, "r+", shape=shape)


def read_array(path: Path) -> np.ndarray:
    """A ``.npy`` file of anybody's: no pickle is read, and memory is taken only for what is there.

    Raises:
        AsrKdError: the file is missing, damaged, or no array of numbers.
    """
    try:
        # NumPy makes room for what a header claims before it reads; a map has to fit the file.
        array = np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # a damaged header raises exceptions of many types
        raise AsrKdError(f"{path} is not an array in a .npy file ({error}); make or copy it anew") from error
    if array.dtype.kind not in "fiu":
        raise AsrKdError(f"{path} holds {array.dtype}, and no numbers")
    return array


def open_frames(path: Path, index: FrameIndex | None = None, writable: bool = False) -> np.ndarray:
    """Memory-map a per-frame ``.npy`` array.

    Raises:
        AsrKdError: the file does not have one row a frame of `index`.
    """
    array: np.ndarray = np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)
    if index is not None and len(array) != index.total_frames:
        raise AsrKdError(
            f"{path}: {len(array)} rows, but its index counts {index.total_frames} frames; "
            "delete the folder and run the stage again"
        )
    return array
