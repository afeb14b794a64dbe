"""Fill the soft-target store: every teacher scores the transfer set, in worker processes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from asr_kd.costs import scoring_memory
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import Teachers, loaded
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import Cost, map_processes
from asr_kd.models.inference import BATCH_FRAMES, blocks
from asr_kd.models.storage import stored_bytes

# About two seconds of work for five small teachers: what a kill can lose, and what evens out the workers.
FRAMES_A_SHARD = 20_000
# Of a pass on a GPU: frames that keep it busy, and scores of all teachers (2 GB, and a few times that).
_FRAMES_TOGETHER, _SCORES_TOGETHER = 8192, 500_000_000
# What the shape of the rest is fitted to: frames, and posteriors (160 MB in float64).
_SAMPLED_FRAMES, _SAMPLED_SCORES = 20_000, 20_000_000


@dataclass(frozen=True)
class Shard:
    """A run of utterances to score.

    Attributes:
        first: place of the first utterance.
        last: place after the last one.
        features: the file of features, ``(frames, dims)``, in the order of the store's index.
        targets: folder of the store.
        teachers: who scores.
        device: where to compute.
    """

    first: int
    last: int
    features: Path
    targets: Path
    teachers: Teachers
    device: str

    @property
    def done(self) -> Path:
        """Scratch that marks the shard as finished, so that a killed run goes on after it."""
        return self.targets / f".scored-{self.first}-{self.last}"


def score_teachers(
    targets: Path, features: Path, index: FrameIndex, teachers: Teachers, device: str, workers: int
) -> None:
    """Fill the store in `targets` with the average of the teachers.

    Args:
        targets: the store, as `SoftTargets.create` laid it out.
        features: ``.npy`` file of features in the order of `index`.
        index: of the transfer set.
        teachers: who scores.
        device: "cpu" or a CUDA device.
        workers: processes.
    """
    shards = [
        Shard(places.start, places.stop, features, targets, teachers, device)
        for places in index.ranges(FRAMES_A_SHARD)
    ]
    waiting = [shard for shard in shards if not shard.done.exists()]
    models = (*teachers.models, *teachers.specialists)
    frames = min(int(index.lengths.max(initial=0)), BATCH_FRAMES)
    cost = Cost(scoring_memory(frames, teachers.senones, stored_bytes(*models), len(teachers.models)))
    for _ in map_processes(_score, waiting, workers, "soft targets", cost=cost):
        pass


@lru_cache(maxsize=1)
def _reopened(folder: Path) -> SoftTargets:
    """Once a process: the index is as large as the corpus."""
    return SoftTargets.reopen(folder)


class Piece(NamedTuple):
    """A piece of an utterance: see `models.inference.blocks`."""

    name: str
    first: int
    frames: np.ndarray
    own: slice


def _score(shard: Shard) -> None:
    store = _reopened(shard.targets)
    features = open_frames(shard.features, store.index)
    teachers = loaded(shard.teachers, shard.device)
    pieces = (
        Piece(name, *block)
        for name in store.index.ids[shard.first : shard.last]
        for block in blocks(features[store.index.span(name)], teachers.context)
    )
    for together in grouped(pieces, frames_together(shard.teachers, shard.device)):
        scores = teachers.members_together([piece.frames for piece in together])
        for piece, members in zip(together, scores, strict=True):
            own = [member[piece.own] for member in members]
            store.write(piece.name, own, shard.teachers.weights, piece.first)
    store.flush()
    shard.done.touch()


def frames_together(teachers: Teachers, device: str) -> int:
    """How many frames of several utterances are scored in one pass: on a CPU those of one utterance."""
    if torch.device(device).type == "cpu":
        return 0
    return min(_FRAMES_TOGETHER, _SCORES_TOGETHER // (teachers.senones * len(teachers.models)))


def grouped(pieces: Iterable[Piece], frames: int) -> Iterator[list[Piece]]:
    """Consecutive pieces of at most so many frames together, or a single longer one."""
    group: list[Piece] = []
    for piece in pieces:
        if group and sum(len(one.frames) for one in group) + len(piece.frames) > frames:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


@dataclass(frozen=True)
class TailJob:
    """A `TailShape` to fit.

    Attributes:
        features: the file of features of the training part, ``(frames, dims)``.
        index: of the training part.
        teachers: who scores.
        rank: of the shape.
        device: where to compute.
    """

    features: Path
    index: FrameIndex
    teachers: Teachers
    rank: int
    device: str


def tail_frames(senones: int) -> int:
    """How many frames of the training part the shape of the rest is fitted to, where there are so many."""
    return min(_SAMPLED_FRAMES, max(1000, _SAMPLED_SCORES // senones))


def fit_tail(job: TailJob) -> TailShape:
    """The shape of the rest, from a sample of the training part; the function of a worker process."""
    features, teachers = open_frames(job.features, job.index), loaded(job.teachers, job.device)
    places = job.index.sample(tail_frames(job.teachers.senones))
    scores = [teachers.mean(features[job.index.span(place)]).cpu() for place in places]
    return TailShape.fit(torch.cat(scores), job.rank)
