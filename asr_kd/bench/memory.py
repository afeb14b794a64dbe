"""Peak memory of the stages that walk a corpus, on simulated corpora of several sizes: `make bench-memory`.

A corpus repeats a few clips of noise in utterances as long as those of LibriSpeech's train-clean-100. Every
stage reads the whole of it; of what takes long and does not depend on the corpus (updates, posteriors) only a
share is computed. What is measured is private memory of all processes together, see `asr_kd.memory`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from asr_kd import memory
from asr_kd.artifacts import create
from asr_kd.config import FeatureConfig, OptimiserConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.distillation.scoring import FRAMES_A_SHARD, Shard, score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
from asr_kd.distillation.teachers import Teachers
from asr_kd.features.extract import Extraction, extract
from asr_kd.features.store import FBANK_FILE, open_part
from asr_kd.frames import create_frames, open_frames
from asr_kd.hmm import shards
from asr_kd.hmm.alignment import AlignmentSettings
from asr_kd.hmm.corpus import Corpus, shard_ranges
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.training import flat_start, shard_workers
from asr_kd.jobs import map_processes
from asr_kd.models import build
from asr_kd.models.storage import save_model
from asr_kd.seeding import generator
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.jobs import DataSize, training_cost
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import DistillationObjective, HardObjective, Objective

RATE = 16_000  # hertz
CLIPS = 8
UTTERANCE_SECONDS, WORDS = 12.6, 33  # means of train-clean-100
UTTERANCES_A_SPEAKER = 40
VOCABULARY, PHONES, SENONES = 5_000, 39, 64
MODEL = {"kind": "dnn", "hidden_layers": 2, "hidden_units": 256, "left_context": 11, "right_context": 11}
# Of these small, so that corpora of a few hours do not fit.
OPTIMISER = OptimiserConfig(shard_megabytes=60)
TARGETS = TargetSettings("arithmetic", top_k=20, temperatures=(2.0,), senones=SENONES)
COMPUTED = 50  # one in so many updates and shards of soft targets


@dataclass(frozen=True)
class Simulation:
    """A simulated corpus.

    Attributes:
        folder: what is made of it.
        hours: of audio.
        workers: processes at most.
    """

    folder: Path
    hours: float
    workers: int

    @property
    def features(self) -> Path:
        """The frame store."""
        return self.folder / "features"

    @property
    def labels(self) -> Path:
        """Senones ``(frames,)``."""
        return self.folder / "labels.npy"

    @property
    def targets(self) -> Path:
        """The soft-target store."""
        return self.folder / "targets"

    @property
    def teacher(self) -> Path:
        """A network."""
        return self.folder / "teacher"


def simulate_features(simulation: Simulation) -> None:
    """Compute filterbanks and cepstra of all audio."""
    clips = [simulation.folder / f"clip-{number}.wav" for number in range(CLIPS)]
    for number, clip in enumerate(clips):
        seconds = UTTERANCE_SECONDS * (1 + (number - CLIPS / 2 + 0.5) / CLIPS)
        noise = generator(0, "clip", number).normal(scale=0.1, size=int(seconds * RATE))
        soundfile.write(clip, noise, RATE)
    count = round(simulation.hours * 3600 / UTTERANCE_SECONDS)
    utterances = [
        Utterance(
            f"{number // UTTERANCES_A_SPEAKER:05}-{number:07}",
            f"{number // UTTERANCES_A_SPEAKER:05}",
            str(clips[number % CLIPS]),
            "",
        )
        for number in range(count)
    ]
    simulation.features.mkdir()
    extract({simulation.features: utterances}, Extraction(FeatureConfig(), RATE), simulation.workers)


def simulate_accumulation(simulation: Simulation) -> None:
    """Equal alignments of all speech, then one pass each of GMM, MLLT and tree statistics."""
    random = generator(0, "words")
    names = [f"P{number}" for number in range(PHONES)]
    lexicon = Lexicon()
    for number in range(VOCABULARY):
        lexicon.add(f"WORD{number}", [names[place] for place in random.integers(PHONES, size=5)])
    words = sorted(lexicon.entries)
    part = open_part(simulation.features)
    spoken = random.integers(VOCABULARY, size=(len(part.index), WORDS))
    transcripts = {
        name: [words[place] for place in own] for name, own in zip(part.index.ids, spoken, strict=True)
    }
    definition, densities = flat_start(PhoneTable.of(lexicon.phones), part.index, part.mfcc)
    corpus = Corpus.of(part.index, part.mfcc, transcripts, lexicon)
    settings = AlignmentSettings(10.0, 40.0, 0.5)
    with shard_workers(corpus, settings, simulation.workers, simulation.folder) as pool:
        for function, *arguments in (
            (shards.start_equally, definition, 1, 0),
            (shards.training_pass, definition, densities, 1),
            (shards.mllt_pass, definition, densities),
            (shards.tree_pass, definition, densities.transform),
        ):
            deque(pool.run(function, [tuple(arguments)] * len(shard_ranges(part.index))), maxlen=0)


def simulate_training(simulation: Simulation) -> None:
    """Go through an epoch of hard labels."""
    _walk_epoch(simulation, HardObjective(), _open_hard)


def simulate_scoring(simulation: Simulation) -> None:
    """Lay the soft-target store out and fill a share of it."""
    simulation.teacher.mkdir()
    index = open_part(simulation.features).index
    save_model(simulation.teacher, build(MODEL, FeatureConfig().mel_bins, SENONES, seed=0))
    teachers = Teachers.of([simulation.teacher, simulation.teacher], SENONES, "arithmetic")
    features = simulation.features / FBANK_FILE
    with create(simulation.targets, {}) as folder:
        SoftTargets.create(folder, index, TARGETS, {})
        for number, places in enumerate(index.ranges(FRAMES_A_SHARD)):
            if number % COMPUTED:
                Shard(places.start, places.stop, features, folder, teachers, "cpu").done.touch()
        score_teachers(folder, features, index, teachers, "cpu", simulation.workers)


def simulate_student(simulation: Simulation) -> None:
    """Go through an epoch of soft targets and labels."""
    _walk_epoch(simulation, DistillationObjective(2.0, 1.0, 0.5), _open_soft)


STAGES: dict[str, Callable[[Simulation], None]] = {
    "features": simulate_features,
    "alignment accumulation": simulate_accumulation,
    "training": simulate_training,
    "teacher scoring": simulate_scoring,
    "student training": simulate_student,
}


def _open_hard(simulation: Simulation) -> FrameData:
    part = open_part(simulation.features)
    if not simulation.labels.exists():
        create_frames(simulation.labels, part.index.total_frames, (), np.int32)
    labels = {"labels": PerFrame(part.index, open_frames(simulation.labels, part.index))}
    return FrameData(PerFrame(part.index, part.fbank), labels, part.index.ids)


def _open_soft(simulation: Simulation) -> FrameData:
    store, hard = SoftTargets.open(simulation.targets), _open_hard(simulation)
    soft = {name: PerFrame(store.index, array) for name, array in store.at(2.0).columns().items()}
    return replace(hard, targets={**hard.targets, **soft})


def _walk_epoch(
    simulation: Simulation, objective: Objective, open_data: Callable[[Simulation], FrameData]
) -> None:
    data = open_data(simulation)
    frames = int(data.lengths().sum())
    size = DataSize(frames * data.bytes_a_frame(), data.dims)
    parameters = build(MODEL, data.dims, SENONES).parameter_count
    cost = training_cost(OPTIMISER, size, parameters, SENONES)
    del data
    walk = partial(_walk, simulation, objective, open_data)
    for _ in map_processes(walk, range(simulation.workers), simulation.workers, "training", cost=cost):
        pass


def _walk(
    simulation: Simulation,
    objective: Objective,
    open_data: Callable[[Simulation], FrameData],
    seed: int,
) -> None:
    """The worker process of a training: all batches of an epoch, and one in `COMPUTED` updates."""
    torch.set_num_threads(1)
    data = open_data(simulation)
    dev = replace(data, utterances=data.utterances[:100])
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            build(MODEL, data.dims, SENONES, seed), objective, data, dev, OPTIMISER, seed,
            torch.device("cpu"), Path(folder), "simulation",
        )  # fmt: skip
        trainer.model.train()
        for number, batch in enumerate(trainer.loader.epoch(0)):
            if number % COMPUTED == 0:
                trainer.update(batch, 1e-4)
        trainer.save()


def measure(stage: str, simulation: Simulation, budget: str) -> int:
    """The peak private memory of a stage on a corpus, in bytes; in a process of its own."""
    command = [sys.executable, "-m", "asr_kd.bench.memory", "--budget", budget, "--stage", stage]
    command += ["--workers", str(simulation.workers), "--folder", str(simulation.folder)]
    environment = os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))}
    command += ["--hours", str(simulation.hours)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return int(json.loads(done.stdout.splitlines()[-1]))


def compare(hours: list[float], folder: Path, budget: str, workers: int) -> dict[str, list[int]]:
    """The peak private memory of every stage with every size of the corpus, in bytes."""
    peaks: dict[str, list[int]] = {stage: [] for stage in STAGES}
    for size in hours:
        simulation = Simulation(folder / f"{size:g}-hours", size, workers)
        simulation.folder.mkdir(parents=True)
        for stage in STAGES:
            peaks[stage].append(measure(stage, simulation, budget))
        shutil.rmtree(simulation.folder)
    return peaks


def table(hours: list[float], peaks: dict[str, list[int]]) -> str:
    """For people."""
    lines = ["| stage | " + " | ".join(f"{size:g} h" for size in hours) + " | last to first |"]
    lines.append("|---|" + "--:|" * (len(hours) + 1))
    for stage, own in peaks.items():
        cells = [f"{peak / memory.MEGABYTE:.0f} MB" for peak in own]
        lines.append(f"| {stage} | {' | '.join(cells)} | {own[-1] / own[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table; with ``--stage`` one stage and its peak in bytes."""
    parser = argparse.ArgumentParser(description="Peak memory of stages on simulated corpora.")
    parser.add_argument("--hours", type=float, nargs="+", default=[5.0, 100.0])
    parser.add_argument("--folder", type=Path, help="with room for 90 MB an hour; default: a temporary one")
    parser.add_argument("--budget", default="1 GB", help="as memory_budget")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stage", choices=STAGES)
    given = parser.parse_args()
    if given.stage:
        with memory.budgeted(given.budget), memory.Watch(seconds=0.05) as watch:
            STAGES[given.stage](Simulation(given.folder, given.hours[0], given.workers))
        print(watch.peak)
        return
    with TemporaryDirectory(dir=given.folder) as folder:
        print(table(given.hours, compare(given.hours, Path(folder), given.budget, given.workers)))


if __name__ == "__main__":
    main()
