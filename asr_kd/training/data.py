"""Training data: shards of utterances in memory, batches gathered from them.

A shard lays its utterances end to end on one axis, each with its edge frames repeated as far as the network
looks, so that the input of every chunk of output frames is one contiguous piece of memory. A strided view
makes each such piece a row; a batch is then one `index_select`: one copy of consecutive bytes a row, where
stacking windows would copy frame by frame.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.models.inference import replicate_edges
from asr_kd.seeding import generator
from asr_kd.training.processes import ALONE, Group

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


class Place(NamedTuple):
    """Where the chunks of a `Batch` lie among all chunks of its update.

    Attributes:
        first: of the chunks.
        chunks: of the update.
        targets: what an `Objective` has to know of all frames of the update: their ``labels``.
        gain: times this, the share that a process has in loss and gradient; the update's are then the mean
            over all processes.
    """

    first: int
    chunks: int
    targets: Mapping[str, Tensor]
    gain: float = 1.0


class Batch(NamedTuple):
    """One update's data, or of several processes that of one.

    Attributes:
        inputs: ``(chunks, left + chunk_frames + right, dims)``.
        counted: ``(chunks * chunk_frames,)`` bool, False on padding; None where no chunk has any.
        targets: by name, one row for each counted frame.
        place: in the update, of which another part is computed elsewhere; None: it is the whole.
    """

    inputs: Tensor
    counted: Tensor | None
    targets: dict[str, Tensor]
    place: Place | None = None


class Context(NamedTuple):
    """What a network looks at to compute one chunk of output frames."""

    left: int
    right: int
    chunk_frames: int

    @property
    def window(self) -> int:
        """Input frames of one chunk."""
        return self.left + self.chunk_frames + self.right


class Shard:
    """Some utterances in memory, cut into chunks of output frames."""

    def __init__(
        self,
        data: FrameData,
        utterances: Sequence[str],
        context: Context,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.context, self.dims = context, data.dims
        chunk = context.chunk_frames
        lengths = np.array([data.features.length(utterance_id) for utterance_id in utterances])
        chunks = -(-lengths // chunk)
        rows = context.left + chunks * chunk + context.right
        row_starts, frame_starts = np.cumsum(rows) - rows, np.cumsum(lengths) - lengths

        frames = torch.empty(int(rows.sum()), self.dims, dtype=dtype)
        for utterance_id, start, row_count in zip(utterances, row_starts, rows, strict=True):
            speech = torch.from_numpy(np.array(data.features.of(utterance_id)))
            right = int(row_count) - context.left - len(speech)
            frames[start : start + row_count] = replicate_edges(speech, context.left, right)
        self.windows = frames.to(device).as_strided(
            (len(frames) - context.window + 1, context.window * self.dims), (self.dims, 1)
        )
        total = int(lengths.sum())
        self.targets = {
            name: _gather(target, utterances, total).to(device) for name, target in data.targets.items()
        }
        # Of each chunk: its first input row, its first output frame, and how many of its frames are speech.
        # In int32 and in place: of single frames these are half as large as the features.
        owner = np.repeat(np.arange(len(utterances), dtype=np.int32), chunks)
        place = np.arange(len(owner), dtype=np.int32)
        place -= (np.cumsum(chunks) - chunks).astype(np.int32)[owner]
        place *= chunk
        first_row, first_frame, frame_count = (
            starts.astype(np.int32)[owner] for starts in (row_starts, frame_starts, lengths)
        )
        first_row += place
        first_frame += place
        frame_count -= place
        np.minimum(frame_count, chunk, out=frame_count)
        self.first_row, self.first_frame = torch.from_numpy(first_row), torch.from_numpy(first_frame)
        self.frame_count = torch.from_numpy(frame_count)

    def __len__(self) -> int:
        return len(self.first_row)

    def batch(self, chunks: Tensor, drawn: Tensor | None = None, group: Group = ALONE) -> Batch:
        """Gather some chunks, given by place ``(chunks,)`` int64.

        Args:
            chunks: which, of all processes.
            drawn: the frames of the shard that count, ``(frames,)`` bool; none: all.
            group: of this process, which gathers its share.
        """
        device, share = self.windows.device, group.share(len(chunks))
        own = chunks[share]
        inputs = self.windows.index_select(0, self.first_row[own].to(device))
        frames, counted = self._frames(own, drawn)
        targets = {name: target.index_select(0, frames) for name, target in self.targets.items()}
        place = None
        if len(own) < len(chunks):
            labels = self.targets["labels"].index_select(0, self._frames(chunks, drawn)[0])
            place = Place(share.start, len(chunks), {"labels": labels}, group.size)
        return Batch(inputs.view(len(own), self.context.window, self.dims), counted, targets, place)

    def _frames(self, chunks: Tensor, drawn: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The frames of chunks that count, by place, and which these are of all; see `Batch.counted`."""
        device, chunk = self.windows.device, self.context.chunk_frames
        counted, frames = None, self.first_frame[chunks]
        if chunk > 1:
            within = torch.arange(chunk)
            counted = (within < self.frame_count[chunks][:, None]).flatten()
            frames = (frames[:, None] + within).flatten()
            if drawn is not None:
                counted &= drawn[frames.clamp(max=len(drawn) - 1)]
            frames = frames[counted]
            counted = counted.to(device)
        return frames.to(device), counted


class Loader:
    """Batches of an epoch: everything at once where it fits the budget, else shuffled shards in turn.

    The order is a function of seed and epoch alone. Batches are of equal size; the few chunks left over at
    the end of a shard are not seen in that epoch. Where `FrameData.draw` chooses frames, only chunks with
    such frames are computed. Of several processes each gets its share of every batch, of the same batches.
    """

    def __init__(
        self,
        data: FrameData,
        context: Context,
        batch_frames: int,
        shard_bytes: int,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        self.data, self.context, self.seed, self.dtype, self.device = data, context, seed, dtype, device
        self.group = group
        self._lengths = data.lengths()
        self.chunks = -(-self._lengths // context.chunk_frames)
        self.batch_chunks = max(1, batch_frames // context.chunk_frames)
        self.chunks_a_shard = max(1, shard_bytes // (data.bytes_a_frame() * context.chunk_frames))
        self._whole: Shard | None = None
        self._drawn: tuple[int, np.ndarray] | None = None  # epoch and frames

    def batches(self, epoch: int) -> int:
        """Updates of an epoch."""
        return sum(self._batches_in(places, epoch) for places in self._shards(epoch))

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from the `skip`-th on; shards that are skipped whole are not read."""
        for number, places in enumerate(self._shards(epoch)):
            count = self._batches_in(places, epoch)
            if skip >= count:
                skip -= count
                continue
            frames = self._frames_drawn(places, epoch)
            shard = self._load(places)
            random = generator(self.seed, "chunks", epoch, number)
            if frames is None:
                order = random.permutation(len(shard))
            else:
                kept = self._chunks_with(frames, places)
                order = kept[random.permutation(len(kept))]
            drawn = None if frames is None else torch.from_numpy(frames)
            size = min(self.batch_chunks, len(order))
            for batch in range(skip, count):
                chunks = torch.from_numpy(order[batch * size : (batch + 1) * size])
                yield shard.batch(chunks, drawn, self.group)
            skip = 0
            del shard, order  # before the next is loaded: two do not fit the budget

    def _frames_drawn(self, places: np.ndarray, epoch: int) -> np.ndarray | None:
        """Of the utterances at `places`, end to end: the frames that the epoch learns from."""
        if self.data.draw is None:
            return None
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = (epoch, self.data.draw(self.seed, epoch))
        starts = np.cumsum(self._lengths) - self._lengths
        pieces = [self._drawn[1][starts[place] :][: self._lengths[place]] for place in places]
        return np.concatenate(pieces)

    def _chunks_with(self, drawn: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The places of the chunks of a shard that have a drawn frame."""
        lengths, chunk = self._lengths[places], self.context.chunk_frames
        chunks = -(-lengths // chunk)
        owner = np.repeat(np.arange(len(places)), lengths)
        within = np.arange(len(drawn)) - (np.cumsum(lengths) - lengths)[owner]
        return np.unique(((np.cumsum(chunks) - chunks)[owner] + within // chunk)[drawn])

    def _shards(self, epoch: int) -> list[np.ndarray]:
        """Places of the utterances of each shard."""
        total = int(self.chunks.sum())
        shards = -(-total // self.chunks_a_shard)
        if shards == 1:
            return [np.arange(len(self.chunks))]
        order = generator(self.seed, "shards", epoch).permutation(len(self.chunks))
        middle = np.cumsum(self.chunks[order]) - self.chunks[order] / 2
        number = (middle * shards / total).astype(np.int64)
        return np.split(order, np.flatnonzero(np.diff(number)) + 1)

    def _batches_in(self, places: np.ndarray, epoch: int) -> int:
        drawn = self._frames_drawn(places, epoch)
        if drawn is None:
            return max(1, int(self.chunks[places].sum()) // self.batch_chunks)
        chunks = len(self._chunks_with(drawn, places))
        return max(1, chunks // self.batch_chunks) if chunks else 0

    def _load(self, places: np.ndarray) -> Shard:
        if self._whole is not None:
            return self._whole
        utterances = [self.data.utterances[place] for place in places]
        shard = Shard(self.data, utterances, self.context, self.dtype, self.device)
        if len(places) == len(self.chunks):
            self._whole = shard
        return shard


def held_bytes(dtype: np.dtype, row_shape: tuple[int, ...]) -> int:
    """Memory that a row of an array takes in a shard."""
    return _held_type(dtype).itemsize * int(np.prod(row_shape))


def _held_type(dtype: np.dtype) -> np.dtype:
    # torch has few operations for uint16
    return np.dtype(np.int32) if dtype == np.uint16 else dtype


def _gather(target: Frames, utterances: Sequence[str], frames: int) -> Tensor:
    # Filled piece by piece: a concatenation would be converted to another array of the same size.
    joined = np.empty((frames, *target.row_shape), _held_type(target.dtype))
    end = 0
    for utterance_id in utterances:
        own = target.of(utterance_id)
        joined[end : end + len(own)] = own
        end += len(own)
    return torch.from_numpy(joined)
