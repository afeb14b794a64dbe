"""Fill the soft-target store: every teacher scores the transfer set, in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import Teachers, loaded
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import map_processes

# About two seconds of work for five small teachers: what a kill can lose, and what evens out the workers.
FRAMES_A_SHARD = 20_000
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
        Shard(first, last, features, targets, teachers, device) for first, last in _cut(index, FRAMES_A_SHARD)
    ]
    waiting = [shard for shard in shards if not shard.done.exists()]
    for _ in map_processes(_score, waiting, workers, "soft targets"):
        pass


def _cut(index: FrameIndex, frames: int) -> list[tuple[int, int]]:
    """Runs of whole utterances of about `frames` frames, as places ``(first, last)``, last excluded."""
    number = index.offsets[:-1] // frames
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(index)], strict=True))


def _score(shard: Shard) -> None:
    store = SoftTargets.reopen(shard.targets)
    features = open_frames(shard.features, store.index)
    teachers = loaded(shard.teachers, shard.device)
    for utterance in range(shard.first, shard.last):
        members = teachers.members(features[store.index.span(utterance)])
        store.write(store.index.ids[utterance], members, shard.teachers.weights)
    store.flush()
    shard.done.touch()


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


def fit_tail(job: TailJob) -> TailShape:
    """The shape of the rest, from a sample of the training part; the function of a worker process."""
    features, teachers = open_frames(job.features, job.index), loaded(job.teachers, job.device)
    frames = min(_SAMPLED_FRAMES, max(1000, _SAMPLED_SCORES // job.teachers.senones))
    scores = [teachers.mean(features[job.index.span(place)]).cpu() for place in job.index.sample(frames)]
    return TailShape.fit(torch.cat(scores), job.rank)
