"""How fast training is, against what the same machine reaches in a bare matrix product at the same time.

Run as `make bench-training` (or `make bench-gpu`) and ``python -m asr_kd.bench.training --help``. Frames a
second mean little where other programs share the cores; the share of the matrix product's peak, measured in
turn with the training, means the same anywhere.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch

from asr_kd import stopping
from asr_kd.config.schema import OptimiserConfig
from asr_kd.distillation.soft_targets import LEVELS_A_NAT
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.jobs import map_processes
from asr_kd.models import AcousticModel, build
from asr_kd.models.devices import resolve_device
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.loader import Batch, Loader
from asr_kd.training.loop import Trainer, Work
from asr_kd.training.objectives import DistillationObjective, HardObjective
from asr_kd.training.stacked import Compute, compute_alone, compute_stacked

UTTERANCES, UTTERANCE_FRAMES, DIMS, TOP_K = 200, 300, 40, 20
# Rows and columns of the matrices of the peak: GPUs have thousands of cores to keep busy.
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}
COPIED_BYTES = 400_000_000  # to measure the bandwidth of memory: no cache holds them


@dataclass(frozen=True)
class Speed:
    """What one bench found.

    Attributes:
        frames_a_second: of whole updates, data included.
        gigaflops: of its matrix products.
        peak_gigaflops: of a square matrix product in the same precision, in the same seconds.
        gigabytes: a second, that memory reads and writes.
    """

    frames_a_second: float
    gigaflops: float
    peak_gigaflops: float
    gigabytes: float

    @property
    def share_of_peak(self) -> float:
        """0 to 1."""
        return self.gigaflops / self.peak_gigaflops


def measure(trainers: Sequence[Trainer], compute: Compute, updates: int) -> Speed:
    """Time single updates, each followed by a matrix product for the peak; the fast tenth of both.

    Args:
        trainers: of networks of one architecture, all of which are updated at a time.
        compute: their gradients.
        updates: to be timed.
    """
    trainer = trainers[0]
    batches = [_endless(one.loader) for one in trainers]

    def update() -> None:
        works = [Work(one, next(own)) for one, own in zip(trainers, batches, strict=True)]
        for work, loss in zip(works, compute(works), strict=True):
            if isinstance(loss, AsrKdError):
                raise loss
            work.trainer.step(loss, 1e-3, stopping.Deferred())

    operations = len(trainers) * update_operations(trainer.model, next(batches[0]))
    peak, size = _matrix_product(trainer.precision, trainer.device), PEAK_SIZE[trainer.device.type]
    update_seconds, peak_seconds = [], []
    for _ in range(updates + 5):
        update_seconds.append(_seconds(trainer.device, update))
        peak_seconds.append(_seconds(trainer.device, peak))
    # The first few allocate memory and choose kernels; the slow ones were interrupted by other programs.
    taken, product = (float(np.quantile(times[5:], 0.1)) for times in (update_seconds, peak_seconds))
    frames = len(trainers) * trainer.loader.batch_chunks * trainer.model.chunk_frames
    return Speed(
        frames_a_second=frames / taken,
        gigaflops=operations / taken / 1e9,
        peak_gigaflops=2 * size**3 / product / 1e9,
        gigabytes=2 * COPIED_BYTES / _copy_seconds(trainer.device) / 1e9,
    )


def update_operations(model: AcousticModel, batch: Batch) -> float:
    """Floating-point operations of the matrix products of one update, forward and back.

    Each linear layer takes two operations a weight and row forward, as many for the gradient of its weights,
    and as many for that of its input, which the first layer does not need.
    """
    rows: list[tuple[torch.nn.Linear, int]] = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, _: rows.append((layer, inputs[0].numel() // layer.in_features))
        )
        for layer in model.modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    with torch.no_grad():
        model(batch.inputs.to(next(model.parameters()).dtype))
    for hook in hooks:
        hook.remove()
    passes = [2 if place == 0 else 3 for place in range(len(rows))]
    return sum(
        2.0 * count * layer.weight.numel() * times for (layer, count), times in zip(rows, passes, strict=True)
    )


def synthetic_data(senones: int, dims: int = DIMS, top_k: int = TOP_K, rank: int = 0) -> FrameData:
    """Random features, labels and soft targets: speed does not depend on what they are.

    Args:
        senones: classes.
        dims: features of a frame.
        top_k: senones that soft targets keep.
        rank: dimensions of the shape of their rest; 0: it has none.
    """
    random = np.random.default_rng(0)
    ids = [str(number) for number in range(UTTERANCES)]
    index = FrameIndex.from_lengths(ids, ids, [UTTERANCE_FRAMES] * UTTERANCES)
    frames, kept = index.total_frames, min(top_k, senones)
    best = random.integers(senones, size=(frames, 1))
    arrays: dict[str, np.ndarray] = {
        "labels": random.integers(senones, size=frames).astype(np.int32),
        "ids": ((best + np.arange(kept)) % senones).astype(np.uint16),
        "levels": np.full((frames, kept), np.log(kept / 0.9) * LEVELS_A_NAT, np.uint8),
        "log_rest": np.full(frames, np.log(0.1), np.float16),
    }
    if rank:
        arrays["tail"] = random.integers(-127, 128, size=(frames, rank)).astype(np.int8)
    features = random.normal(size=(frames, dims)).astype(np.float16)
    targets = {name: PerFrame(index, array) for name, array in arrays.items()}
    return FrameData(PerFrame(index, features), targets, ids)


def _endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch, every batch gathered when it is asked for."""
    return (batch for epoch in count() for batch in loader.epoch(epoch))


def _matrix_product(precision: torch.dtype, device: torch.device) -> Callable[[], Any]:
    size = PEAK_SIZE[device.type]
    square = torch.randn(size, size, device=device).to(precision)
    return lambda: square @ square


def _copy_seconds(device: torch.device) -> float:
    """The fastest of some copies of `COPIED_BYTES`."""
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    return min(_seconds(device, lambda: copy.copy_(source)) for _ in range(10))


def _seconds(device: torch.device, function: Callable[[], Any]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - started


def main() -> None:
    """Measure and print a line, and what `asr-kd plan` wants to know."""
    given = _arguments()
    # Each in a process of its own, as members are trained: side by side they share memory and caches.
    pool = map_processes(_bench, [given] * given.processes, given.processes, "training")
    speeds, measured, profiles = zip(*(found for _, found in pool), strict=True)
    flops, peak = sum(one.gigaflops for one in speeds), sum(one.peak_gigaflops for one in speeds)
    print(
        f"{measured[0]}, {given.processes} x {given.threads} threads: "
        f"{sum(one.frames_a_second for one in speeds):,.0f} frames/s, {flops:,.0f} of {peak:,.0f} GFLOP/s "
        f"({100 * flops / peak:.0f} % of the matrix product's peak)"
    )
    print(
        f"for a plan: asr-kd plan teraflops={peak / 1e3:.3g} share={flops / peak:.2f} "
        f"terabytes={sum(one.gigabytes for one in speeds) / 1e3:.3g}"
    )
    print(*filter(None, profiles), sep="\n")


def _bench(given: argparse.Namespace) -> tuple[Speed, str, str]:
    """What one process finds, what it measured, in words, and where the time went, if that is asked for."""
    torch.set_num_threads(given.threads)
    data = synthetic_data(given.senones)
    settings = {"preset": given.preset} if given.preset else {"kind": given.kind}
    objective = DistillationObjective(2.0, 1.0, 0.5) if given.distil else HardObjective()
    optimiser = OptimiserConfig(
        batch_frames=given.batch_frames, precision=given.precision, compile=given.compile
    )
    device = resolve_device(given.device)
    with TemporaryDirectory() as folder:
        trainers = [
            Trainer(model, objective, data, data, optimiser, seed, device, Path(folder), "bench")
            for seed in range(given.networks)
            for model in [build(settings, DIMS, given.senones, seed)]
        ]
        speed = measure(trainers, compute_stacked if given.stacked else compute_alone, given.updates)
        profile = _profile(trainers[0]) if given.profile else ""
    measured = f"{trainers[0].model.parameter_count:,} parameters, {trainers[0].precision}, {device}"
    if given.networks > 1:
        measured += f", {given.networks} networks {'stacked' if given.stacked else 'one after another'}"
    return speed, measured, profile


def _profile(trainer: Trainer) -> str:
    """Where the time of some updates goes."""
    batches = list(trainer.loader.epoch(1))[:20]
    with torch.profiler.profile() as profile:
        for batch in batches:
            trainer.update(batch, 1e-3)
    return profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training speed against the peak of a bare matrix product.")
    parser.add_argument("--kind", default="dnn", help="kind of model, with its default settings")
    parser.add_argument("--preset", help="a preset in its place, e.g. hinton2015")
    parser.add_argument("--senones", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="at the same time, each for itself")
    parser.add_argument("--networks", type=int, default=1, help="of one architecture, in each process")
    parser.add_argument("--stacked", action="store_true", help="as train.stacked=always")
    parser.add_argument("--batch-frames", type=int, default=1024)
    parser.add_argument("--precision", default="auto", help="auto, bf16 or fp32")
    parser.add_argument("--compile", action="store_true", help="as optimiser.compile=true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--distil", action="store_true", help="train on soft targets and labels")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
