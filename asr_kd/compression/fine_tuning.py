"""Pruning in rounds, each followed by training: one compressed network, as a job."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from asr_kd.compression import low_rank, structured
from asr_kd.compression.magnitude import prune_weights
from asr_kd.compression.networks import check_compressible, multiply_adds, shape_of
from asr_kd.config.schema import OptimiserConfig, PruneConfig
from asr_kd.errors import AsrKdError
from asr_kd.jobs import Cost
from asr_kd.models import AcousticModel
from asr_kd.models.dnn import WindowedNetwork
from asr_kd.models.storage import load_model, save_model
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import DataSize, TrainsModel, carry_out, training_cost
from asr_kd.training.loader import Context, Loader
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import Objective
from asr_kd.training.processes import Group

METHODS = ("structured", "low_rank", "magnitude")
TARGETS = ("soft", "hard")
SUMMARY_FILE = "compression.json"
# What the importance of units is estimated on: 20 batches of 1,024 frames.
IMPORTANCE_BATCHES, IMPORTANCE_BATCH_FRAMES = 20, 1024


@dataclass(frozen=True)
class CompressionJob(TrainsModel):
    """One network to prune: everything a worker process needs.

    Attributes:
        name: for messages.
        path: the artefact to make.
        made_from: its fingerprint.
        source: folder of the network to begin with.
        settings: how.
        objective: what to train for.
        open_data: gives training and dev data; called in the worker.
        seed: of the order of training data.
        device: where to train.
        early_stopping: keep the weights of every round's best epoch, see `Trainer`.
        data: tells how much there is to train on.
    """

    name: str
    path: Path
    made_from: Mapping[str, Any]
    source: Path
    settings: PruneConfig
    objective: Objective
    open_data: Callable[[], tuple[FrameData, FrameData]]
    seed: int
    device: str
    early_stopping: bool = True
    data: Callable[[], DataSize] | None = None

    @property
    def cost(self) -> Cost:
        """See `jobs.Job`."""
        student, data = load_model(self.source), self.data() if self.data else None
        return training_cost(self.optimiser, data, student.parameter_count, student.senones)

    @property
    def optimiser(self) -> OptimiserConfig:
        """Of every round."""
        return self.settings.optimiser

    def run(self) -> None:
        """See `jobs.Job`."""
        carry_out(self, _prune)


def check_settings(name: str, settings: PruneConfig) -> None:
    """Refuse settings that mean nothing.

    Raises:
        AsrKdError: names the setting.
    """
    for key, known in (("method", METHODS), ("targets", TARGETS)):
        value = getattr(settings, key)
        if value not in known:
            raise AsrKdError(f"compress.pruned.{name}.{key}={value}: choose one of {', '.join(known)}")
    if not 0.0 < settings.keep < 1.0 or settings.rounds < 1:
        raise AsrKdError(f"compress.pruned.{name}: keep a share between 0 and 1, in at least one round")


def share_after(number: int, settings: PruneConfig) -> float:
    """What is left after round `number`, from 1: a cubic fall (Zhu and Gupta 2017)."""
    return settings.keep + (1.0 - settings.keep) * (1.0 - number / settings.rounds) ** 3


def _prune(job: CompressionJob, group: Group) -> None:
    torch.set_num_threads(job.settings.optimiser.threads)
    train, dev = job.open_data()
    original = check_compressible(load_model(job.source), job.name)
    full, source = multiply_adds(original), job.source
    _check_share(job, original, full)
    with group.create(job.path, job.made_from) as folder:
        for number in range(1, job.settings.rounds + 1):
            scratch = folder / f".round-{number}"
            finished = scratch / ".finished"
            if not finished.exists():
                scratch.mkdir(exist_ok=True)
                _round(job, number, load_model(source), full, scratch, (train, dev), group)
                if group.leads:
                    finished.touch()
                group.wait()
            source = scratch
        if group.leads:
            _collect(job, source, folder, full)


def _check_share(job: CompressionJob, model: WindowedNetwork, full: int) -> None:
    """Refuse a share that the method cannot reach, before anything is trained."""
    settings, rooms = job.settings, {"structured": structured, "low_rank": low_rank}
    if settings.method not in rooms:
        return
    least = rooms[settings.method].least_multiply_adds(shape_of(model))
    if least > settings.keep * full:
        raise AsrKdError(
            f"compress.pruned.{job.name}.keep={settings.keep}: method {settings.method} leaves at least "
            f"{math.ceil(1000 * least / full) / 1000} of the multiply-adds of {settings.student}"
        )


def _round(
    job: CompressionJob,
    number: int,
    model: AcousticModel,
    full: int,
    folder: Path,
    data: tuple[FrameData, FrameData],
    group: Group,
) -> None:
    """Take away, then train; the result lies in `folder`."""
    device = group.device(torch.device(job.device))
    smaller = _shrink(job, model, share_after(number, job.settings), full, data[0]).to(device)
    say(
        f"{job.name}: round {number} of {job.settings.rounds}, "
        f"{multiply_adds(smaller):,} multiply-adds a frame"
    )
    if job.settings.method == "magnitude":
        prune_weights(smaller, share_after(number, job.settings))
    seed = derive_seed(job.seed, "round", number)
    name = f"{job.name} round {number}"
    Trainer(
        smaller,
        job.objective,
        *data,
        job.settings.optimiser,
        seed,
        device,
        folder,
        name,
        job.early_stopping,
        group,
    ).run()


def _shrink(
    job: CompressionJob, model: AcousticModel, share: float, full: int, train: FrameData
) -> AcousticModel:
    windowed = check_compressible(model, job.name)
    if job.settings.method == "low_rank":
        return low_rank.factorise(windowed, share, full)
    if job.settings.method == "structured":
        context = Context(model.left_context, model.right_context, model.chunk_frames)
        shard_bytes = job.settings.optimiser.shard_megabytes * 1_000_000
        loader = Loader(
            train,
            context,
            IMPORTANCE_BATCH_FRAMES,
            shard_bytes,
            job.seed,
            torch.float16,
            torch.device("cpu"),
        )
        batches = islice(loader.epoch(0), IMPORTANCE_BATCHES)
        return structured.prune_units(windowed, share, batches, job.objective, full)
    return model


def _collect(job: CompressionJob, last: Path, folder: Path, full: int) -> None:
    """The last round's network becomes the artefact's."""
    model = load_model(last)
    save_model(folder, model, sparse=job.settings.method == "magnitude")
    for name in ("log.jsonl", "curve.png"):
        shutil.copyfile(last / name, folder / name)
    summary = {
        "method": job.settings.method,
        "multiply_adds": multiply_adds(model),
        "multiply_adds_before": full,
        "parameters": model.parameter_count,
        "parameters_not_zero": sum(int(weight.count_nonzero()) for weight in model.parameters()),
    }
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
