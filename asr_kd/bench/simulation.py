"""Stages on a simulated corpus, for `bench.memory`.

A corpus repeats a few clips of noise in utterances as long as those of LibriSpeech's train-clean-100, and
after a few hours their transcripts: words without meaning go on to find triphones long after speech does.
Every stage reads the whole of it; of what takes long and does not depend on the corpus (updates, posteriors)
only a share is computed. Each function imports its own libraries: a stage is measured with those that it
needs.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from asr_kd.config import FeatureConfig, OptimiserConfig
from asr_kd.frames import create_frames, open_frames
from asr_kd.jobs import map_processes
from asr_kd.seeding import generator

if TYPE_CHECKING:
    from asr_kd.training.data import FrameData
    from asr_kd.training.objectives import Objective

RATE = 16_000  # hertz
CLIPS = 8
UTTERANCE_SECONDS, WORDS = 12.6, 33  # means of train-clean-100
UTTERANCES_A_SPEAKER = 40
VOCABULARY, PHONES, SENONES = 5_000, 39, 64
DIFFERENT_HOURS = 5.0  # after which transcripts are repeated
MODEL = {"kind": "dnn", "hidden_layers": 2, "hidden_units": 256, "left_context": 11, "right_context": 11}
# Of these small, so that corpora of a few hours do not fit.
OPTIMISER = OptimiserConfig(shard_megabytes=60)
TOP_K, TEMPERATURE = 20, 2.0
COMPUTED = 50  # one in so many updates and shards of soft targets
# Of the budget: what a stage keeps as far as the budget goes (graphs, features) is then as much for a few
# hours as for many.
SHARES = {"alignment accumulation": 0.7}


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
    import soundfile

    from asr_kd.corpus.manifest import Utterance
    from asr_kd.features.extract import Extraction, extract

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
    from asr_kd.corpus.lexicon import Lexicon
    from asr_kd.features.store import open_part
    from asr_kd.hmm import shards
    from asr_kd.hmm.alignment import AlignmentSettings
    from asr_kd.hmm.corpus import Corpus
    from asr_kd.hmm.phones import PhoneTable
    from asr_kd.hmm.training import flat_start, gather_tree_statistics, run_on_shards, shard_workers

    random = generator(0, "words")
    names = [f"P{number}" for number in range(PHONES)]
    lexicon = Lexicon()
    for number in range(VOCABULARY):
        lexicon.add(f"WORD{number}", [names[place] for place in random.integers(PHONES, size=5)])
    words = sorted(lexicon.entries)
    part = open_part(simulation.features)
    spoken = random.integers(VOCABULARY, size=(round(DIFFERENT_HOURS * 3600 / UTTERANCE_SECONDS), WORDS))
    transcripts = {
        name: [words[word] for word in spoken[place % len(spoken)]]
        for place, name in enumerate(part.index.ids)
    }
    definition, densities = flat_start(PhoneTable.of(lexicon.phones), part.index, part.mfcc)
    corpus = Corpus.of(part.index, part.mfcc, transcripts, lexicon)
    settings = AlignmentSettings(10.0, 40.0, 0.5)
    with shard_workers(corpus, settings, simulation.workers, simulation.folder) as pool:
        for function, *arguments in (
            (shards.start_equally, definition, 1, 0),
            (shards.training_pass, definition, densities, 1),
            (shards.mllt_pass, definition, densities),
        ):
            deque(run_on_shards(pool, part.index, function, *arguments), maxlen=0)
        gather_tree_statistics(pool, part.index, definition, densities.transform)


def simulate_training(simulation: Simulation) -> None:
    """Go through an epoch of hard labels."""
    from asr_kd.training.objectives import HardObjective

    _walk_epoch(simulation, HardObjective(), _open_hard)


def simulate_scoring(simulation: Simulation) -> None:
    """Lay the soft-target store out and fill a share of it."""
    from asr_kd.artifacts import create
    from asr_kd.distillation.scoring import FRAMES_A_SHARD, Shard, score_teachers
    from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
    from asr_kd.distillation.teachers import Teachers
    from asr_kd.features.store import FBANK_FILE, open_part
    from asr_kd.models import build
    from asr_kd.models.storage import save_model

    simulation.teacher.mkdir()
    index = open_part(simulation.features).index
    save_model(simulation.teacher, build(MODEL, FeatureConfig().mel_bins, SENONES, seed=0))
    teachers = Teachers.of([simulation.teacher, simulation.teacher], SENONES, "arithmetic")
    features = simulation.features / FBANK_FILE
    with create(simulation.targets, {}) as folder:
        settings = TargetSettings("arithmetic", TOP_K, (TEMPERATURE,), SENONES)
        SoftTargets.create(folder, index, settings, {})
        for number, places in enumerate(index.ranges(FRAMES_A_SHARD)):
            if number % COMPUTED:
                Shard(places.start, places.stop, features, folder, teachers, "cpu").done.touch()
        score_teachers(folder, features, index, teachers, "cpu", simulation.workers)


def simulate_student(simulation: Simulation) -> None:
    """Go through an epoch of soft targets and labels."""
    from asr_kd.training.objectives import DistillationObjective

    _walk_epoch(simulation, DistillationObjective(TEMPERATURE, 1.0, 0.5), _open_soft)


STAGES: dict[str, Callable[[Simulation], None]] = {
    "features": simulate_features,
    "alignment accumulation": simulate_accumulation,
    "training": simulate_training,
    "teacher scoring": simulate_scoring,
    "student training": simulate_student,
}


def _open_hard(simulation: Simulation) -> "FrameData":
    from asr_kd.features.store import open_part
    from asr_kd.training.data import FrameData, PerFrame

    part = open_part(simulation.features)
    if not simulation.labels.exists():
        create_frames(simulation.labels, part.index.total_frames, (), np.int32)
    labels = {"labels": PerFrame(part.index, open_frames(simulation.labels, part.index))}
    return FrameData(PerFrame(part.index, part.fbank), labels, part.index.ids)


def _open_soft(simulation: Simulation) -> "FrameData":
    from asr_kd.distillation.soft_targets import SoftTargets
    from asr_kd.training.data import PerFrame

    store, hard = SoftTargets.open(simulation.targets), _open_hard(simulation)
    soft = {name: PerFrame(store.index, array) for name, array in store.at(TEMPERATURE).columns().items()}
    return replace(hard, targets={**hard.targets, **soft})


def _walk_epoch(
    simulation: Simulation, objective: "Objective", open_data: "Callable[[Simulation], FrameData]"
) -> None:
    from asr_kd.models import build
    from asr_kd.training.jobs import DataSize, training_cost

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
    objective: "Objective",
    open_data: "Callable[[Simulation], FrameData]",
    seed: int,
) -> None:
    """The worker process of a training: all batches of an epoch, and one in `COMPUTED` updates."""
    import torch

    from asr_kd.models import build
    from asr_kd.training.loop import Trainer

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
