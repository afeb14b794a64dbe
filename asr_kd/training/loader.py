"""Batches of training data: shards of utterances in memory, batches gathered from them.

A shard lays its utterances end to end on one axis, each with its edge frames repeated as far as the network
looks, so that the input of every chunk of output frames is one contiguous piece of memory. A strided view
makes each such piece a row; a batch is then one `index_select`: one copy of consecutive bytes a row, where
stacking windows would copy frame by frame.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_kd.models.inference import replicate_edges
from asr_kd.seeding import generator
from asr_kd.training.data import FrameData, Frames, held_type
from asr_kd.training.processes import ALONE, Group


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
    """Some utterances in memory, cut into chunks of output frames.

    Args:
        data: all utterances.
        utterances: those of the shard.
        context: of a chunk.
        dtype: of features.
        pinned: in memory that a GPU can copy from by itself.
    """

    def __init__(
        self,
        data: FrameData,
        utterances: Sequence[str],
        context: Context,
        dtype: torch.dtype,
        pinned: bool = False,
    ) -> None:
        self.context, self.dims = context, data.dims
        chunk = context.chunk_frames
        lengths = np.array([data.features.length(utterance_id) for utterance_id in utterances])
        chunks = -(-lengths // chunk)
        rows = context.left + chunks * chunk + context.right
        row_starts, frame_starts = np.cumsum(rows) - rows, np.cumsum(lengths) - lengths

        frames = torch.empty(int(rows.sum()), self.dims, dtype=dtype, pin_memory=pinned)
        for utterance_id, start, row_count in zip(utterances, row_starts, rows, strict=True):
            speech = torch.from_numpy(np.array(data.features.of(utterance_id)))
            right = int(row_count) - context.left - len(speech)
            frames[start : start + row_count] = replicate_edges(speech, context.left, right)
        self.windows = self._windows(frames)
        total = int(lengths.sum())
        self.targets = {
            name: _gather(target, utterances, total, pinned) for name, target in data.targets.items()
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

    def to(self, device: torch.device) -> "Shard":
        """The same shard, its frames moved to a device."""
        rows = len(self.windows) + self.context.window - 1
        frames = self.windows.as_strided((rows, self.dims), (self.dims, 1))
        self.windows = self._windows(frames.to(device, non_blocking=True))
        self.targets = {name: one.to(device, non_blocking=True) for name, one in self.targets.items()}
        return self

    def _windows(self, frames: Tensor) -> Tensor:
        """Overlapping rows, one from every frame on, of ``(frames, dims)``."""
        window = self.context.window
        return frames.as_strided((len(frames) - window + 1, window * self.dims), (self.dims, 1))

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
        self.group, self.ahead = group, device.type == "cuda"
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
        left = self._left(epoch, skip)
        loaded = self._loaded([places for _, places, _ in left])
        for number, places, batches in left:
            frames = self._frames_drawn(places, epoch)
            shard = next(loaded)
            random = generator(self.seed, "chunks", epoch, number)
            if frames is None:
                order = random.permutation(len(shard))
            else:
                kept = self._chunks_with(frames, places)
                order = kept[random.permutation(len(kept))]
            drawn = None if frames is None else torch.from_numpy(frames)
            size = min(self.batch_chunks, len(order))
            for batch in batches:
                chunks = torch.from_numpy(order[batch * size : (batch + 1) * size])
                yield shard.batch(chunks, drawn, self.group)
            del shard, order  # before the next is loaded: two do not fit the budget

    def _left(self, epoch: int, skip: int) -> list[tuple[int, np.ndarray, range]]:
        """The shards that have a batch from the `skip`-th on: number, utterances, and which batches."""
        left = []
        for number, places in enumerate(self._shards(epoch)):
            count = self._batches_in(places, epoch)
            if skip < count:
                left.append((number, places, range(skip, count)))
            skip = max(0, skip - count)
        return left

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
        return np.unique(chunk_numbers(self._lengths[places], self.context.chunk_frames)[drawn])

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

    def _loaded(self, shards: Sequence[np.ndarray]) -> Iterator[Shard]:
        """Some shards in turn, on the device; for a GPU the next is gathered while one is in use."""
        if len(self._shards(0)) == 1:
            self._whole = self._whole or self._load(np.arange(len(self.chunks))).to(self.device)
            yield from [self._whole] * len(shards)
        elif not self.ahead:
            yield from (self._load(places) for places in shards)
        else:
            with ThreadPoolExecutor(1) as thread:
                waiting = deque(thread.submit(self._load, places) for places in shards[:1])
                for following in [*shards[1:], None]:
                    shard = waiting.popleft().result().to(self.device)
                    if following is not None:
                        waiting.append(thread.submit(self._load, following))
                    yield shard
                    del shard

    def _load(self, places: np.ndarray) -> Shard:
        utterances = [self.data.utterances[place] for place in places]
        return Shard(self.data, utterances, self.context, self.dtype, self.device.type == "cuda")


def chunk_numbers(lengths: np.ndarray, chunk_frames: int) -> np.ndarray:
    """The chunk that each frame of utterances of some `lengths` is computed in, end to end ``(frames,)``."""
    chunks = -(-lengths // chunk_frames)
    first = np.repeat(np.cumsum(chunks) - chunks, lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found: np.ndarray = first + within // chunk_frames
    return found


def _gather(target: Frames, utterances: Sequence[str], frames: int, pinned: bool) -> Tensor:
    # Filled piece by piece: a concatenation would be converted to another array of the same size.
    kind = torch.from_numpy(np.empty(0, held_type(target.dtype))).dtype
    joined = torch.empty((frames, *target.row_shape), dtype=kind, pin_memory=pinned)
    rows, end = joined.numpy(), 0
    for utterance_id in utterances:
        own = target.of(utterance_id)
        rows[end : end + len(own)] = own
        end += len(own)
    return joined
