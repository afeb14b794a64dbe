"""Measurements of single units of work, in worker processes that are all busy as they would be in a run.

Each function imports its own libraries: how long that takes is measured as well.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_kd import memory
from asr_kd.config import FeatureConfig, OptimiserConfig
from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.frames import FrameIndex
from asr_kd.seeding import generator

if TYPE_CHECKING:
    from asr_kd.models import AcousticModel
    from asr_kd.training.objectives import Objective

# Libraries that processes load, see `costs.Step`.
NUMPY, KALDI, TORCH, EVERYTHING = "numpy", "kaldi", "torch", "torch and kaldi"
FEATURES, STORE, TAIL, SEARCH = "second of audio", "soft targets", "shape of the rest", "search"
_WARMING_UPDATES = 3  # allocate memory and choose kernels
_SCORED_FRAMES = 400  # of an utterance, as they are scored
_SHAPE_FRAMES = 2000
# The stand-in for a graph that does not exist yet.
_STATES, _ARCS, _LABELS, _ACTIVE = 5000, 3, 400, 500


@dataclass(frozen=True)
class Measured:
    """What a unit of work takes.

    Attributes:
        seconds: of one process.
        bytes: of private memory, whatever the amount of work.
    """

    seconds: float
    bytes: int = 0


Found = dict[str, Measured]


def start(asked_at: float) -> Found:
    """Libraries, by the time and memory that a process takes from being asked for until it has them.

    Args:
        asked_at: `time.time()` when it was.
    """
    found: list[tuple[float, int]] = []
    for load in (_load_numpy, _load_kaldi, _load_torch):
        load()
        found.append((time.time() - asked_at, memory.private(os.getpid())))
    numpy, kaldi, everything = (Measured(*one) for one in found)
    # Loaded last here, and without the others by processes that train.
    torch = Measured(
        numpy.seconds + everything.seconds - kaldi.seconds, numpy.bytes + everything.bytes - kaldi.bytes
    )
    return {NUMPY: numpy, KALDI: kaldi, TORCH: torch, EVERYTHING: everything}


def _load_numpy() -> None:
    from asr_kd.features import extract  # noqa: F401


def _load_kaldi() -> None:
    from asr_kd import hmm  # noqa: F401
    from asr_kd.decoding import decode  # noqa: F401


def _load_torch() -> None:
    from asr_kd.distillation import teachers  # noqa: F401
    from asr_kd.training import jobs  # noqa: F401


@dataclass(frozen=True)
class Sample:
    """Some utterances of the training part.

    Attributes:
        utterances: with durations.
        features: how features are made.
        sample_rate: hertz.
        resample: audio of other rates.
    """

    utterances: tuple[Utterance, ...]
    features: FeatureConfig
    sample_rate: int
    resample: bool

    def compute(self) -> tuple[FrameIndex, np.ndarray]:
        """Their index, and their cepstra ``(frames, cepstra)`` float32, mean 0 by utterance."""
        from asr_kd.features.extract import Extraction, load_waveform, make_backend
        from asr_kd.features.normalise import Statistics, normalise, subtract_mean

        extraction = Extraction(self.features, self.sample_rate, self.resample)
        backend, cepstra = make_backend(extraction), []
        for utterance in self.utterances:
            fbank, mfcc = backend.compute([load_waveform(utterance, extraction)])
            normalise(fbank, Statistics.of(fbank))
            cepstra.append(subtract_mean(mfcc, Statistics.of(mfcc)))
        ids, speakers = zip(*((one.id, one.speaker) for one in self.utterances), strict=True)
        return FrameIndex.from_lengths(ids, speakers, list(map(len, cepstra))), np.concatenate(cepstra)


def measure_features(sample: Sample) -> Found:
    """A second of audio, read and turned into features."""
    started = perf_counter()
    sample.compute()
    seconds = sum(one.duration_seconds or 0.0 for one in sample.utterances)
    return {FEATURES: Measured((perf_counter() - started) / seconds)}


@dataclass(frozen=True)
class Aligned:
    """Speech whose alignment is measured.

    Attributes:
        sample: of the training part.
        lexicon: file.
        gmm: settings of the alignment model.
    """

    sample: Sample
    lexicon: Path
    gmm: GmmConfig


def measure_alignment(aligned: Aligned) -> Found:
    """Passes of the GMM training, see `hmm.speed`."""
    from asr_kd.hmm.speed import measure_passes

    index, mfcc = aligned.sample.compute()
    before = memory.private(os.getpid())
    transcripts = {one.id: one.words for one in aligned.sample.utterances}
    found = measure_passes(aligned.gmm, index, mfcc, transcripts, Lexicon.read(aligned.lexicon))
    taken = max(0, memory.private(os.getpid()) - before)
    return {name: Measured(seconds, taken) for name, seconds in found.items()}


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
    """A frame of an update, data included; the process' memory is what it takes beside the data."""
    import torch

    from asr_kd.bench.training import synthetic_data
    from asr_kd.training.loop import Trainer

    network, threads = training.network, max(1, training.optimiser.threads)
    torch.set_num_threads(threads)
    before = memory.private(os.getpid())
    data = synthetic_data(network.senones, network.dims, training.top_k, training.rank)
    if not training.soft:
        data = type(data)(data.features, {"labels": data.targets["labels"]}, data.utterances)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            network.build(), training.objective(), data, data, training.optimiser, 0,
            torch.device(network.device), Path(folder), network.unit,
        )  # fmt: skip
        trainer.model.train()
        batches = (batch for epoch in count() for batch in trainer.loader.epoch(epoch))
        for _ in range(_WARMING_UPDATES):
            trainer.update(next(batches), 1e-4)
        frames = trainer.loader.batch_chunks * trainer.model.chunk_frames
        seconds = _repeat(lambda: trainer.update(next(batches), 1e-4), network.seconds)
        taken = memory.private(os.getpid()) - before - 2 * data.bytes_a_frame() * int(data.lengths().sum())
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
    seconds = _repeat(lambda: log_posteriors(model, features, device, precision=precision), network.seconds)
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
        store.write("one", members)
        seconds = _repeat(lambda: store.write("one", members), stored.seconds)
    return {STORE: Measured(seconds / _SCORED_FRAMES), TAIL: Measured(fitted / _SHAPE_FRAMES)}


@dataclass(frozen=True)
class Searched:
    """A graph whose search is measured, with the scores of the alignment model.

    Attributes:
        unit: what to call a frame of it.
        work: folder of the recipe.
        graph: folder of the graph.
        beam: of the search.
        max_active: of the search.
        seconds: to measure for.
    """

    unit: str
    work: Path
    graph: Path
    beam: float
    max_active: int
    seconds: float


def measure_graph(searched: Searched) -> Found:
    """A frame of dev, searched at the usual scale."""
    from asr_kd.decoding.acoustic import load_scorer
    from asr_kd.decoding.graph import load_graph
    from asr_kd.decoding.search import Search, SearchSettings
    from asr_kd.decoding.systems import System
    from asr_kd.decoding.tuning import USUAL_SCALE
    from asr_kd.features.store import open_part

    work = searched.work
    part, graph = open_part(work / "features" / "dev"), load_graph(searched.graph)
    scorer = load_scorer(System("gmm", "gmm", (work / "align" / "model",)), work / "align" / "labels", "cpu")
    settings = SearchSettings(USUAL_SCALE, searched.beam, searched.max_active)
    search = Search(graph, graph.highest_input_label, settings)
    taken, frames = 0.0, 0
    for place in generator(0, "search").permutation(len(part.index)):
        span = part.index.span(place)
        scores, _ = scorer(part.fbank[span], part.mfcc[span])
        started = perf_counter()
        search(part.index.ids[place], scores)
        taken, frames = taken + perf_counter() - started, frames + len(scores)
        if taken >= searched.seconds:
            break
    return {searched.unit: Measured(taken / frames)}


def measure_search(seconds: float) -> Found:
    """A frame of a search in a graph of a known size, drawn at random."""
    import kaldifst

    from asr_kd.decoding.graph import Graph
    from asr_kd.decoding.search import Search, SearchSettings

    random = np.random.default_rng(0)
    targets, labels = (random.integers(limit, size=(_STATES, _ARCS)) for limit in (_STATES, _LABELS))
    lines = list(_arcs(targets, labels))
    fst = kaldifst.StdConstFst(kaldifst.compile("\n".join(lines) + "\n", acceptor=False))
    search = Search(Graph(fst, {}, _LABELS), _LABELS, SearchSettings(0.1, 12.0, _ACTIVE))
    scores = random.normal(scale=20.0, size=(_SCORED_FRAMES, _LABELS)).astype(np.float32)
    search("stand-in", scores)
    return {SEARCH: Measured(_repeat(lambda: search("stand-in", scores), seconds) / _SCORED_FRAMES)}


def _arcs(targets: np.ndarray, labels: np.ndarray) -> Iterator[str]:
    for state, (reached, read) in enumerate(zip(targets.tolist(), labels.tolist(), strict=True)):
        yield f"{state} {state} {read[0] + 1} 0 0.3"
        for target, label in zip(reached, read, strict=True):
            yield f"{state} {target} {label + 1} 0 1.0"
        yield f"{state} 0.0"


def _repeat(function: Callable[[], Any], seconds: float) -> float:
    """The mean time of a call, over as many as there are in so many seconds."""
    calls, started = 0, perf_counter()
    while True:
        function()
        calls += 1
        taken = perf_counter() - started
        if taken >= seconds:
            return taken / calls
