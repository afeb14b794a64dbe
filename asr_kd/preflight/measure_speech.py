"""Measurements of features, alignment and search; see `measure`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.frames import FrameIndex
from asr_kd.preflight.measure import Found, Measured, private_bytes, repeat
from asr_kd.seeding import generator

FEATURES, SEARCH = "second of audio", "search"
# The stand-in for a graph that does not exist yet.
_STATES, _ARCS, _LABELS, _ACTIVE, _FRAMES = 5000, 3, 400, 500, 400


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
    before = private_bytes()
    transcripts = {one.id: one.words for one in aligned.sample.utterances}
    found = measure_passes(aligned.gmm, index, mfcc, transcripts, Lexicon.read(aligned.lexicon))
    taken = max(0, private_bytes() - before)
    return {name: Measured(seconds, taken) for name, seconds in found.items()}


@dataclass(frozen=True)
class Searched:
    """A graph whose search is measured, with the scores of the alignment model.

    Attributes:
        unit: what to call a frame of it.
        work: folder of the recipe.
        graph: folder of the graph.
        content: a hash of it.
        beam: of the search.
        max_active: of the search.
        seconds: to measure for.
    """

    unit: str
    work: Path
    graph: Path
    content: str
    beam: float
    max_active: int
    seconds: float


def measure_graph(searched: Searched) -> Found:
    """A frame of dev, searched with the GMM.

    At half of the usual scale: its scores are about twice as far apart as a network's, and what most of the
    searches of a run are done with are networks.
    """
    from asr_kd.decoding.acoustic import load_scorer
    from asr_kd.decoding.graph import load_graph
    from asr_kd.decoding.search import Search, SearchSettings
    from asr_kd.decoding.systems import System
    from asr_kd.decoding.tuning import USUAL_SCALE
    from asr_kd.features.store import open_part

    work = searched.work
    part, graph = open_part(work / "features" / "dev"), load_graph(searched.graph)
    scorer = load_scorer(System("gmm", "gmm", (work / "align" / "model",)), work / "align" / "labels", "cpu")
    settings = SearchSettings(USUAL_SCALE / 2, searched.beam, searched.max_active)
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
    scores = random.normal(scale=20.0, size=(_FRAMES, _LABELS)).astype(np.float32)
    search("stand-in", scores)
    return {SEARCH: Measured(repeat(lambda: search("stand-in", scores), seconds) / _FRAMES)}


def _arcs(targets: np.ndarray, labels: np.ndarray) -> Iterator[str]:
    for state, (reached, read) in enumerate(zip(targets.tolist(), labels.tolist(), strict=True)):
        yield f"{state} {state} {read[0] + 1} 0 0.3"
        for target, label in zip(reached, read, strict=True):
            yield f"{state} {target} {label + 1} 0 1.0"
        yield f"{state} 0.0"
