"""Measurements of networks: training, scoring, soft targets; see `measure`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_kd import memory
from asr_kd.config import OptimiserConfig
from asr_kd.frames import FrameIndex
from asr_kd.preflight.measure import Found, Measured, private_bytes, repeat

if TYPE_CHECKING:
    from asr_kd.models import AcousticModel
    from asr_kd.training.objectives import Objective

STORE, TAIL = "soft targets", "shape of the rest"
_WARMING_UPDATES = 3  # allocate memory and choose kernels
_SCORED_FRAMES = 400  # of an utterance, as they are scored
_SHAPE_FRAMES = 2000


@dataclass(frozen=True)
class Network:
    """A network whose speed is measured.

    Attributes:
        unit: what to call it.
        model: settings for `models.build`.
        dims: features of a frame.
        senones: classes.
        device: where it computes.
        precision: of its matrix products.
        seconds: to measure for.
    """

    unit: str
    model: Mapping[str, Any]
    dims: int
    senones: int
    device: str
    precision: str
    seconds: float

    def build(self) -> "AcousticModel":
        """With random weights."""
        from asr_kd.models import build

        return build(self.model, self.dims, self.senones, seed=0)


@dataclass(frozen=True)
class Training:
    """A training whose speed is measured.

    Attributes:
        network: that is trained.
        optimiser: settings.
        soft: learn from soft targets and labels, not from labels alone.
        top_k: senones of the soft targets.
        rank: dimensions of the shape of their rest.
    """

    network: Network
    optimiser: OptimiserConfig
    soft: bool
    top_k: int
    rank: int

    def objective(self) -> "Objective":
        """Of a student with common settings, or hard labels."""
        import torch

        from asr_kd.distillation.tails import TailShape
        from asr_kd.training.objectives import DistillationObjective, HardObjective

        if not self.soft:
            return HardObjective()
        senones, rank = self.network.senones, self.rank
        shape = TailShape(torch.zeros(senones), torch.full((rank, senones), 0.01)) if rank else None
        return DistillationObjective(2.0, 1.0, 0.5, tail_shape=shape)


def measure_training(training: Training) -> Found:
    """A frame of an update, data included; the process' memory is what it takes beside the data.

    Also what it is done with and has kept for later: a training keeps that as well.
    """
    import torch

    from asr_kd.bench.training import synthetic_data
    from asr_kd.training.log import draw_curve
    from asr_kd.training.loop import Trainer

    network, threads = training.network, max(1, training.optimiser.threads)
    torch.set_num_threads(threads)
    before = private_bytes()
    data = synthetic_data(network.senones, network.dims, training.top_k, training.rank)
    if not training.soft:
        data = replace(data, targets={"labels": data.targets["labels"]})
    # Compiling takes minutes, and what it is good for shows on GPUs.
    optimiser = replace(training.optimiser, compile=False, processes=1)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            network.build(), training.objective(), data, data, optimiser, 0,
            torch.device(network.device), Path(folder), network.unit,
        )  # fmt: skip
        trainer.model.train()
        batches = (batch for epoch in count() for batch in trainer.loader.epoch(epoch))
        for _ in range(_WARMING_UPDATES):
            trainer.update(next(batches), 1e-4)
        frames = trainer.loader.batch_chunks * trainer.model.chunk_frames
        seconds = repeat(lambda: trainer.update(next(batches), 1e-4), network.seconds)
        record = {"epoch": 1, "train_loss": 1.0, "dev_cross_entropy": 1.0, "dev_frame_accuracy": 0.5}
        draw_curve(Path(folder), [record], network.unit)  # loads a library, which stays
        now = memory.private(os.getpid())
        taken = now - before - 2 * data.bytes_a_frame() * int(data.lengths().sum())
    torch.set_num_threads(1)
    return {network.unit: Measured(seconds / frames, max(0, taken))}


def measure_network(network: Network) -> Found:
    """A frame of an utterance, scored on one thread."""
    import torch

    from asr_kd.models.devices import resolve_precision
    from asr_kd.models.inference import log_posteriors

    model, device = network.build().to(network.device), torch.device(network.device)
    precision = resolve_precision(network.precision, device, "precision")
    features = np.random.default_rng(0).normal(size=(_SCORED_FRAMES, network.dims)).astype(np.float16)
    log_posteriors(model, features, device, precision=precision)
    seconds = repeat(lambda: log_posteriors(model, features, device, precision=precision), network.seconds)
    return {network.unit: Measured(seconds / _SCORED_FRAMES)}


@dataclass(frozen=True)
class Stored:
    """A soft-target store whose writing is measured; see `distillation.soft_targets.TargetSettings`."""

    average: str
    top_k: int
    temperatures: tuple[float, ...]
    senones: int
    tempering: str
    tail_rank: int
    teachers: int
    seconds: float


def measure_store(stored: Stored) -> Found:
    """A frame of soft targets, averaged and stored; and a frame that the shape of the rest is fitted to."""
    import torch

    from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
    from asr_kd.distillation.tails import TailShape

    settings = TargetSettings(
        stored.average, stored.top_k, stored.temperatures, stored.senones, stored.tempering, stored.tail_rank
    )
    torch.manual_seed(0)
    started, shape = perf_counter(), None
    if settings.rank:
        shape = TailShape.fit(torch.randn(_SHAPE_FRAMES, stored.senones).log_softmax(-1), settings.rank)
    fitted = perf_counter() - started
    members = [3 * torch.randn(_SCORED_FRAMES, stored.senones) for _ in range(stored.teachers)]
    members = [member.log_softmax(-1) for member in members]
    index = FrameIndex.from_lengths(["one"], ["one"], [_SCORED_FRAMES])
    with TemporaryDirectory() as folder:
        store = SoftTargets.create(Path(folder), index, settings, {}, shape)
        weights = [1 / stored.teachers] * stored.teachers if stored.average == "log-linear" else None
        store.write("one", members, weights)
        seconds = repeat(lambda: store.write("one", members, weights), stored.seconds)
    return {STORE: Measured(seconds / _SCORED_FRAMES), TAIL: Measured(fitted / _SHAPE_FRAMES)}
