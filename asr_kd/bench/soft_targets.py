"""What the soft-target store costs and keeps, on a recipe that has been trained.

Run as ``python -m asr_kd.bench.soft_targets --work exp/an4``. One thread throughout; every speed is the best
of several passes, taken in turn with what it is compared to, because other programs may share the cores.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_kd.artifacts import create
from asr_kd.config.schema import DistillConfig, OptimiserConfig
from asr_kd.distillation.ensemble import average
from asr_kd.distillation.losses import spread_teacher, top_k_teacher
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings, log_probabilities
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import LoadedTeachers, Teachers
from asr_kd.features.store import Part, open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.models import build
from asr_kd.models.storage import load_model
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import DistillationObjective, HardObjective, Objective


@dataclass(frozen=True, eq=False)
class Sample:
    """Some utterances of the training part, scored by every member.

    Attributes:
        index: of the utterances.
        features: ``(frames, dims)``.
        labels: ``(frames,)``.
        members: log posteriors by utterance and member.
    """

    index: FrameIndex
    features: np.ndarray
    labels: np.ndarray
    members: list[list[Tensor]]


def take_sample(work: Path, system: LoadedTeachers, frames: int) -> Sample:
    """Every n-th training utterance, about `frames` frames."""
    part = open_part(work / "features" / "train")
    labels = open_frames(work / "align" / "labels" / "train.npy", part.index)
    places = part.index.sample(frames)
    spans = [part.index.span(place) for place in places]
    ids = [part.index.ids[place] for place in places]
    index = FrameIndex.from_lengths(ids, ids, [span.stop - span.start for span in spans])
    features, own = (np.concatenate([array[span] for span in spans]) for array in (part.fbank, labels))
    return Sample(index, features, own, [system.members(part.fbank[span]) for span in spans])


def fill(folder: Path, sample: Sample, settings: TargetSettings) -> SoftTargets:
    """A finished store of the sample."""
    shape = None
    if settings.rank:
        # Of every second utterance, so that what is measured has not all been seen.
        means = [average(members, settings.average) for members in sample.members[::2]]
        shape = TailShape.fit(torch.cat(means), settings.rank)
    with create(folder, {"kind": "soft targets"}) as partial:
        store = SoftTargets.create(partial, sample.index, settings, {}, shape)
        for utterance_id, members in zip(sample.index.ids, sample.members, strict=True):
            store.write(utterance_id, members)
        store.flush()
    return SoftTargets.open(folder)


class Divergences(NamedTuple):
    """How far a store is from the dense targets, means over frames.

    Attributes:
        rest: the mass outside the top k.
        merged: nats over the top k and the rest as one class, which is what rounding costs.
        even: nats from the dense targets to the store with its rest spread evenly over all other senones.
        shaped: the same with the rest in the shape that the store holds; equal to `even` where it holds none.
    """

    rest: float
    merged: float
    even: float
    shaped: float


def divergences(store: SoftTargets, sample: Sample, temperature: float) -> Divergences:
    """Compare a store with what it was made from, of the utterances that its shape has not seen."""
    found, shape = store.at(temperature), store.tail_shape
    pieces = []
    for (_, span), members in list(zip(sample.index.spans(), sample.members, strict=True))[1::2]:
        mean = torch.stack(members).double().logsumexp(0) - np.log(len(members))
        dense = (mean / temperature).softmax(-1)
        ids, levels, log_rest, tail = (torch.from_numpy(np.array(array[span])) for array in found[:4])
        ids = ids.long()
        values = log_probabilities(levels)
        p, rest = top_k_teacher(values, log_rest.float(), temperature, found.stored_at)
        evenly = torch.zeros_like(mean, dtype=torch.float32)
        shaped = shape.decode(tail, temperature) if shape else evenly
        left = dense.scatter(-1, ids, 0.0).sum(-1)
        merged = _divergence(dense.gather(-1, ids), p) + _divergence(left[:, None], rest[:, None])
        spread = [_divergence(dense, spread_teacher(ids, p, rest, one)[0]) for one in (evenly, shaped)]
        pieces.append(torch.stack([left, merged, *spread]))
    return Divergences(*torch.cat(pieces, 1).mean(1).tolist())


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """``sum p log(p / q)`` over the last axis."""
    return (p * (p.clamp(min=1e-30) / q.double().clamp(min=1e-30)).log()).sum(-1)


def best_seconds(functions: Sequence[Callable[[], object]], passes: int) -> list[float]:
    """The shortest time of each function, all of them in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(passes):
        for function, own in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            own.append(time.perf_counter() - started)
    return [min(own) for own in times]


def reading_speed(store: SoftTargets, part: Part, system: LoadedTeachers, temperature: float) -> float:
    """How many times faster the store is read, utterances in random order, than the members score."""
    places = np.random.default_rng(0).permutation(len(store.index))[:50].tolist()
    found = store.at(temperature)

    def read() -> list[np.ndarray]:
        arrays = found.columns().values()
        return [np.array(array[store.index.span(place)]) for place in places for array in arrays]

    def score() -> list[list[Tensor]]:
        return [system.members(part.fbank[part.index.span(store.index.ids[place])]) for place in places]

    reading, scoring = best_seconds([read, score], 3)
    return scoring / reading


def epoch_ratio(store: SoftTargets, sample: Sample, student: Path, temperature: float, updates: int) -> float:
    """The time of updates on soft targets and labels by that of the same updates on labels alone."""
    features = PerFrame(sample.index, sample.features)
    labels = {"labels": PerFrame(sample.index, sample.labels)}
    found = store.at(temperature)
    soft = labels | {name: PerFrame(store.index, array) for name, array in found.columns().items()}
    distilled = DistillationObjective(
        temperature, 1.0, 0.5, stored_at=found.stored_at, tail_shape=store.tail_shape
    )
    objectives: list[tuple[Objective, dict[str, PerFrame]]] = [
        (HardObjective(), labels),
        (distilled, soft),
    ]
    with TemporaryDirectory() as folder:
        trainers = []
        for objective, targets in objectives:
            data = FrameData(features, targets, sample.index.ids)
            model = load_model(student)
            fresh = build(
                {"kind": model.settings.kind, **vars(model.settings)}, model.input_dims, model.senones, seed=0
            )
            settings, device = OptimiserConfig(), torch.device("cpu")
            trainers.append(Trainer(fresh, objective, data, data, settings, 0, device, Path(folder), "bench"))
        times = [[_update_seconds(trainer, updates) for trainer in trainers] for _ in range(2)]
    on_labels, on_targets = (min(own) for own in zip(*times, strict=True))
    return on_targets / on_labels


def _update_seconds(trainer: Trainer, updates: int) -> float:
    """The fast tenth of single updates, data included; the slow ones were interrupted by other programs."""
    trainer.model.train()
    seconds: list[float] = []
    while len(seconds) < updates:
        batches = trainer.loader.epoch(len(seconds))
        while len(seconds) < updates:
            started = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            trainer.update(batch, 1e-3)
            seconds.append(time.perf_counter() - started)
    return float(np.quantile(seconds, 0.1))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="What the soft-target store costs and keeps.")
    parser.add_argument("--work", type=Path, required=True, help="a recipe's folder with trained members")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--top-k", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--tail-rank", type=int, default=DistillConfig().tail_rank)
    parser.add_argument("--frames", type=int, default=20_000, help="of the training part to look at")
    parser.add_argument("--updates", type=int, default=60, help="to time; 0: none")
    given = parser.parse_args()

    torch.set_num_threads(1)
    members = sorted((given.work / "train").glob("member-*"))
    senones = load_model(members[0]).senones
    system = LoadedTeachers(Teachers.of(members, senones, "arithmetic"), "cpu")
    sample, part = take_sample(given.work, system, given.frames), open_part(given.work / "features" / "train")
    print(
        f"{len(members)} members, {senones} senones, {len(sample.labels):,} frames, T = {given.temperature:g}"
    )
    print("| k | bytes a frame | mass of the rest | KL, rest as one class | spread evenly | in its shape |")
    print("|--:|--:|--:|--:|--:|--:|")
    with TemporaryDirectory() as folder:
        stores = {}
        for top_k in given.top_k:
            settings = TargetSettings(
                "arithmetic", top_k, (given.temperature,), senones, tail_rank=given.tail_rank
            )
            store = stores[top_k] = fill(Path(folder) / str(top_k), sample, settings)
            kl = divergences(store, sample, given.temperature)
            row = f"{kl.rest:.4f} | {kl.merged:.2e} | {kl.even:.4f} | {kl.shaped:.4f}"
            print(f"| {top_k} | {store.bytes_a_frame():.0f} | {row} |")
        usual = DistillConfig().top_k
        top_k = min(stores, key=lambda k: abs(k - usual))
        speed = reading_speed(stores[top_k], part, system, given.temperature)
        print(f"k = {top_k}: reading is {speed:,.0f} times faster than scoring with the members")
        if given.updates:
            ratio = epoch_ratio(stores[top_k], sample, members[0], given.temperature, given.updates)
            print(f"k = {top_k}: an update with the store takes {ratio:.2f} times one on labels")


if __name__ == "__main__":
    main()
