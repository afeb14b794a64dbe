"""Training specialists (Hinton, Vinyals and Dean 2015, section 5.2): half of the set, half of the rest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr_kd.config.schema import OptimiserConfig
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.jobs import Cost
from asr_kd.models.storage import load_model
from asr_kd.progress import say
from asr_kd.seeding import derive_seed, generator
from asr_kd.specialists.network import specialist_from
from asr_kd.specialists.sets import Specialty
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.jobs import DataSize, TrainsModel, carry_out, training_cost
from asr_kd.training.loader import chunk_numbers
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import SpecialistObjective
from asr_kd.training.processes import Group

# Of set and rest in dev; cross entropy of fewer chooses an epoch by chance.
_FEWEST_DEV_FRAMES = 100


@dataclass(frozen=True)
class SpecialistJob(TrainsModel):
    """One specialist to train: everything a worker process needs.

    Attributes:
        name: for messages.
        path: the artefact to make.
        made_from: its fingerprint.
        generalist: folder of the model that it begins with.
        classes: its set, ascending senones.
        senones: of the recipe.
        soft_rest: see `SpecialistObjective`.
        share: of all labelled frames that an epoch has at most.
        open_data: gives training and dev data, labelled with senones; called in the worker.
        optimiser: settings.
        seed: of order, draws and dropout.
        device: where to compute.
        data: tells how much there is to train on.
    """

    name: str
    path: Path
    made_from: Mapping[str, Any]
    generalist: Path
    classes: tuple[int, ...]
    senones: int
    soft_rest: float
    share: float
    open_data: Callable[[], tuple[FrameData, FrameData]]
    optimiser: OptimiserConfig
    seed: int
    device: str
    data: Callable[[], DataSize] | None = None

    @property
    def cost(self) -> Cost:
        """See `jobs.Job`."""
        generalist, data = load_model(self.generalist), self.data() if self.data else None
        return training_cost(self.optimiser, data, generalist.parameter_count, len(self.classes) + 1)

    def run(self) -> None:
        """See `jobs.Job`."""
        carry_out(self, train_specialist)


def train_specialist(job: SpecialistJob, group: Group) -> None:
    """Make the artefact of a job: the network, and ``specialist.json``."""
    torch.set_num_threads(max(1, job.optimiser.threads))
    train, dev = job.open_data()
    groups, counts = relabel(train, job.classes, job.senones)
    own = counts[list(job.classes)].sum()
    if not 0 < own < counts.sum():
        raise AsrKdError(f"{job.name}: {own:,} of {counts.sum():,} training frames are of its set: no choice")
    model = specialist_from(
        load_model(job.generalist), job.classes, counts.tolist(), derive_seed(job.seed, "weights")
    )
    shift = dustbin_shift(int(own), int(counts.sum() - own))
    objective = SpecialistObjective(
        job.classes, job.senones, job.soft_rest, job.optimiser.label_smoothing, shift
    )
    # Where each frame is a chunk of its own they need not be told apart.
    chunks = chunk_numbers(groups.lengths(), model.chunk_frames) if model.chunk_frames > 1 else None
    draw = partial(draw_halves, flat_labels(groups), len(job.classes), job.share, chunks)
    own_dev, dev_counts = relabel(dev, job.classes, job.senones)
    of_set = int(dev_counts[list(job.classes)].sum())
    fewest = min(of_set, int(dev_counts.sum()) - of_set)
    if fewest < _FEWEST_DEV_FRAMES:
        half = "of its set" if fewest == of_set else "of the rest"
        say(f"{job.name}: {fewest} frames {half} in dev, too few to choose an epoch; the last is kept")
    with group.create(job.path, job.made_from) as folder:
        Trainer(
            model,
            objective,
            replace(groups, draw=draw),
            balanced(own_dev, len(job.classes), job.seed),
            job.optimiser,
            job.seed,
            group.device(torch.device(job.device)),
            folder,
            job.name,
            early_stopping=fewest >= _FEWEST_DEV_FRAMES,
            group=group,
        ).run()
        if group.leads:
            Specialty(job.classes, job.senones, shift).write(folder)


def dustbin_shift(own: int, rest: int) -> float:
    """What the dustbin's logit lacks: the log of the proportion by which the set is oversampled.

    Training sees set and dustbin equally often, speech as `own` to `rest`; by Bayes' rule their odds at use
    are the trained ones times ``rest / own``.
    """
    return math.log(rest / own)


def relabel(data: FrameData, classes: Sequence[int], senones: int) -> tuple[FrameData, np.ndarray]:
    """Labels as a specialist knows them: the place in its set, ``len(classes)`` for all other senones.

    Returns:
        The data, frames without a label still at -1; and how many frames each senone has, ``(senones,)``.
    """
    labels = flat_labels(data)
    place = np.full(senones + 1, len(classes), np.int32)
    place[list(classes)] = np.arange(len(classes))
    place[-1] = -1  # where label -1 finds it
    counts = np.bincount(labels[labels >= 0], minlength=senones)
    return replace(data, targets={**data.targets, "labels": _per_frame(data, place[labels])}), counts


def flat_labels(data: FrameData) -> np.ndarray:
    """The labels of all utterances used, end to end, ``(frames,)`` int32."""
    return np.concatenate([data.targets["labels"].of(one) for one in data.utterances])


def draw_halves(
    labels: np.ndarray, dustbin: int, share: float, chunks: np.ndarray | None, seed: int, epoch: int
) -> np.ndarray:
    """The frames of an epoch: as many of the set as of the rest, drawn anew without replacement.

    Args:
        labels: of `relabel`, ``(frames,)``.
        dustbin: the label of the rest.
        share: of all labelled frames that are drawn at most.
        chunks: of `chunk_numbers`. A chunk costs the same for one frame as for all: the set is then drawn in
            half of that share of the chunks, the rest in as many, so that neither is drawn near the other
            more often than it stands there.
        seed: of the training.
        epoch: from 0.

    Returns:
        Mask ``(frames,)``.
    """
    random = generator(seed, "halves", epoch)
    halves = [np.flatnonzero((labels >= 0) & (labels < dustbin)), np.flatnonzero(labels == dustbin)]
    most = int(share * sum(map(len, halves)) / 2)
    if chunks is not None:
        budget = max(1, int(share * (chunks[-1] + 1) / 2))
        halves = [_in_some_chunks(frames, chunks, budget, random) for frames in halves]
        most = len(labels)  # in these chunks more frames cost no more
    half = max(1, min(most, *map(len, halves)))
    drawn = np.zeros(len(labels), bool)
    for frames in halves:
        drawn[random.choice(frames, half, replace=False)] = True
    return drawn


def _in_some_chunks(
    frames: np.ndarray, chunks: np.ndarray, most: int, random: np.random.Generator
) -> np.ndarray:
    """Of the places of some frames, those in `most` of the chunks that have any, drawn at random."""
    drawn = random.permutation(np.unique(chunks[frames]))[:most]
    found: np.ndarray = frames[np.isin(chunks[frames], drawn)]
    return found


def balanced(data: FrameData, dustbin: int, seed: int) -> FrameData:
    """Dev as training is: labels stay on half set, half rest, so its cross entropy tells over-fitting.

    All of it where one half is not there.
    """
    labels = flat_labels(data)
    if (labels == dustbin).any() and ((labels >= 0) & (labels < dustbin)).any():
        labels = np.where(draw_halves(labels, dustbin, 1.0, None, seed, -1), labels, -1).astype(np.int32)
    return replace(data, targets={**data.targets, "labels": _per_frame(data, labels)})


def _per_frame(data: FrameData, flat: np.ndarray) -> PerFrame:
    """An array over the frames of all utterances used, by utterance."""
    speakers = [""] * len(data.utterances)
    return PerFrame(FrameIndex.from_lengths(data.utterances, speakers, data.lengths().tolist()), flat)
