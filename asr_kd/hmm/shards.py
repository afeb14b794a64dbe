"""What worker processes do with their shards of a corpus. Runs only inside `workers.ShardWorkers`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.frames import FrameIndex
from asr_kd.hmm import gmm_training, lda_mllt, tree_statistics
from asr_kd.hmm.alignment import (
    AlignmentSettings,
    GraphCompiler,
    TranscriptGraph,
    align,
    align_equally,
    retied,
)
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.densities import Densities, transformed
from asr_kd.hmm.splice import splice
from asr_kd.seeding import derive_seed

# A shard is about two and a half minutes of speech, more where the corpus would fall into too many.
SHARD_FRAMES = 16_000
MAX_SHARDS = 64
# Features are kept in memory (about 160 bytes a frame) for corpora up to five and a half hours.
MAX_KEPT_FRAMES = 2_000_000

Alignment = np.ndarray | None


@dataclass(frozen=True, eq=False)
class Corpus:
    """What is aligned.

    Attributes:
        index: of the utterances.
        mfcc: ``(frames, cepstra)`` float32, or the path of the ``.npy`` file that holds it.
        transcripts: words of each utterance id.
        lexicon: pronunciations of all these words.
    """

    index: FrameIndex
    mfcc: np.ndarray | str
    transcripts: Mapping[str, Sequence[str]]
    lexicon: Lexicon

    @classmethod
    def of(
        cls, index: FrameIndex, mfcc: np.ndarray, transcripts: Mapping[str, Sequence[str]], lexicon: Lexicon
    ) -> "Corpus":
        """The corpus, restricted to what its utterances need; a memory-mapped array travels as its path."""
        own = {utterance: transcripts[utterance] for utterance in index.ids}
        whole_file = isinstance(mfcc, np.memmap) and mfcc.filename is not None and mfcc.base is not None
        source = str(mfcc.filename) if whole_file and isinstance(mfcc, np.memmap) else np.asarray(mfcc)
        return cls(index, source, own, lexicon.restricted(word for words in own.values() for word in words))


def shard_ranges(index: FrameIndex) -> list[range]:
    """Consecutive utterances of each shard, a function of the corpus alone."""
    shards = int(np.clip(index.total_frames // SHARD_FRAMES, 1, min(MAX_SHARDS, max(1, len(index)))))
    bounds = np.searchsorted(index.offsets[:-1], np.linspace(0, index.total_frames, shards + 1)[1:-1])
    edges = [0, *map(int, bounds), len(index)]
    return [range(begin, end) for begin, end in pairwise(edges) if begin < end]


@dataclass
class PassResult:
    """What one shard adds to a training pass.

    Attributes:
        gmm: statistics of its frames.
        transition_counts: ``(transition ids + 1,)`` float64.
        failed: utterances without an alignment.
    """

    gmm: gmm_training.GmmStatistics
    transition_counts: np.ndarray
    failed: int

    def add(self, other: "PassResult") -> None:
        """Add what another shard found."""
        self.gmm.add(other.gmm)
        self.transition_counts += other.transition_counts
        self.failed += other.failed


@dataclass
class _Worker:
    """The state of one worker process."""

    corpus: Corpus
    mfcc: np.ndarray
    ranges: list[range]
    settings: AlignmentSettings
    hmm: KaldiHmm | None = None
    compiler: GraphCompiler | None = None
    graphs: dict[int, TranscriptGraph] = field(default_factory=dict)
    alignments: dict[int, Alignment] = field(default_factory=dict)
    transform: np.ndarray | None = None
    kept_features: dict[int, np.ndarray] = field(default_factory=dict)

    def use(self, definition: HmmDefinition) -> KaldiHmm:
        """Take up a model; graphs stay while the tree does."""
        if self.hmm is None or self.hmm.definition.tree != definition.tree:
            self.hmm = KaldiHmm(definition)
            self.compiler = GraphCompiler(self.hmm, self.corpus.lexicon, self.settings.silence_probability)
            self.graphs.clear()
        elif definition.transition_counts is not None:
            self.hmm.set_transitions(definition.transition_counts)
        return self.hmm

    def graph(self, place: int) -> TranscriptGraph:
        """The graph of one utterance, made when it is first needed."""
        if place not in self.graphs:
            assert self.compiler is not None
            words = self.corpus.transcripts[self.corpus.index.ids[place]]
            self.graphs[place] = self.compiler.compile(words)
        return self.graphs[place]

    def places(self, shard: int, stride: int) -> list[int]:
        """Every `stride`-th utterance of the corpus that is in the shard."""
        return [place for place in self.ranges[shard] if place % stride == 0]

    def cepstra(self, place: int) -> np.ndarray:
        """``(frames, cepstra)`` of an utterance."""
        return self.mfcc[self.corpus.index.span(place)]

    def features(self, place: int, transform: np.ndarray) -> np.ndarray:
        """Transformed cepstra of an utterance, ``(frames, dims)`` float32."""
        if self.transform is None or not np.array_equal(transform, self.transform):
            self.transform = transform
            self.kept_features.clear()
        if place in self.kept_features:
            return self.kept_features[place]
        features = transformed(transform, self.cepstra(place))
        if self.corpus.index.total_frames <= MAX_KEPT_FRAMES:
            self.kept_features[place] = features
        return features

    def aligned(self, places: Iterable[int]) -> list[tuple[int, np.ndarray]]:
        """Those of the utterances that have an alignment, with it."""
        paths = [(place, self.alignments[place]) for place in places]
        return [(place, path) for place, path in paths if path is not None]


_workers: list[_Worker] = []


def initialise(corpus: Corpus, settings: AlignmentSettings) -> None:
    """Set up this process; the initializer of `ShardWorkers`."""
    mfcc = np.load(corpus.mfcc, mmap_mode="r") if isinstance(corpus.mfcc, str) else corpus.mfcc
    _workers[:] = [_Worker(corpus, mfcc, shard_ranges(corpus.index), settings)]


def start_equally(shard: int, definition: HmmDefinition, stride: int, seed: int) -> None:
    """Give every `stride`-th utterance its equal alignment."""
    worker = _workers[0]
    worker.use(definition)
    index = worker.corpus.index
    for place in worker.places(shard, stride):
        own_seed = derive_seed(seed, "equal alignment", index.ids[place]) % 2**31
        worker.alignments[place] = align_equally(worker.graph(place), int(index.lengths[place]), own_seed)


def align_pass(shard: int, definition: HmmDefinition, densities: Densities, stride: int) -> None:
    """Renew the alignment of every `stride`-th utterance."""
    worker = _workers[0]
    hmm = worker.use(definition)
    for place in worker.places(shard, stride):
        worker.alignments[place] = _align(worker, hmm, place, densities)


def training_pass(shard: int, definition: HmmDefinition, densities: Densities, stride: int) -> PassResult:
    """Accumulate the statistics of every `stride`-th utterance along its alignment."""
    worker = _workers[0]
    hmm = worker.use(definition)
    places = worker.places(shard, stride)
    aligned = worker.aligned(places)
    transitions = np.concatenate([np.zeros(0, np.int32), *(path for _, path in aligned)])
    frames = _concatenated(worker, densities, [place for place, _ in aligned])
    counts = np.bincount(transitions, minlength=hmm.transitions.num_transition_ids + 1)
    return PassResult(
        gmm=gmm_training.accumulate(densities.gmms, frames, hmm.pdf_of_transition[transitions]),
        transition_counts=counts.astype(np.float64),
        failed=len(places) - len(aligned),
    )


def lda_pass(shard: int, definition: HmmDefinition) -> lda_mllt.LdaStatistics:
    """Statistics of spliced cepstra, with the pdfs of the alignments as classes."""
    worker = _workers[0]
    hmm = worker.use(definition)
    dims = splice(worker.mfcc[:1]).shape[1]
    total = lda_mllt.LdaStatistics(np.zeros(hmm.pdfs), np.zeros((hmm.pdfs, dims)), np.zeros((dims, dims)))
    for place, path in worker.aligned(worker.ranges[shard]):
        pdfs = hmm.pdf_of_transition[path]
        total.add(lda_mllt.LdaStatistics.of(splice(worker.cepstra(place)), pdfs, hmm.pdfs))
    return total


def mllt_pass(shard: int, definition: HmmDefinition, densities: Densities) -> lda_mllt.MlltStatistics:
    """Statistics of the frames' scatter around the Gaussians of their pdfs."""
    worker = _workers[0]
    hmm = worker.use(definition)
    aligned = worker.aligned(worker.ranges[shard])
    pdfs = np.concatenate([np.zeros(0, np.int32), *(hmm.pdf_of_transition[path] for _, path in aligned)])
    frames = _concatenated(worker, densities, [place for place, _ in aligned])
    return lda_mllt.MlltStatistics.of(densities.gmms, frames, pdfs)


def tree_pass(shard: int, definition: HmmDefinition, transform: np.ndarray) -> tree_statistics.TreeStatistics:
    """Tree statistics of transformed cepstra along the alignments."""
    worker = _workers[0]
    owners = worker.use(definition).owner_of_transition
    pieces = []
    for place, path in worker.aligned(worker.ranges[shard]):
        events = tree_statistics.utterance_events(owners[path, 0], owners[path, 1])
        pieces.append(tree_statistics.accumulate(events, worker.features(place, transform)))
    return tree_statistics.merge(pieces, len(transform))


def retie_pass(shard: int, before: HmmDefinition, after: HmmDefinition) -> None:
    """Express the alignments in the transitions of another tree."""
    worker = _workers[0]
    old, new = KaldiHmm(before), KaldiHmm(after)
    for place, path in worker.aligned(worker.ranges[shard]):
        worker.alignments[place] = retied(path, old, new)


def label_pass(shard: int, definition: HmmDefinition, densities: Densities) -> list[Alignment]:
    """The pdf of every frame of every utterance of the shard."""
    worker = _workers[0]
    hmm = worker.use(definition)
    paths = [_align(worker, hmm, place, densities) for place in worker.ranges[shard]]
    return _pdfs(hmm, paths)


def score_pass(shard: int, definition: HmmDefinition, scores: Sequence[np.ndarray]) -> list[Alignment]:
    """The same with given log likelihoods ``(frames, senones)`` of each utterance."""
    worker = _workers[0]
    hmm = worker.use(definition)
    paths = []
    for place, table in zip(worker.ranges[shard], scores, strict=True):
        graph = worker.graph(place)
        own = table[:, graph.pdfs]
        paths.append(align(hmm, graph, own, worker.settings, worker.corpus.index.ids[place]))
    return _pdfs(hmm, paths)


def _align(worker: _Worker, hmm: KaldiHmm, place: int, densities: Densities) -> Alignment:
    graph = worker.graph(place)
    features = worker.features(place, densities.transform)
    scores = densities.gmms.log_likelihoods(features, graph.pdfs)
    return align(hmm, graph, scores, worker.settings, worker.corpus.index.ids[place])


def _concatenated(worker: _Worker, densities: Densities, places: Sequence[int]) -> np.ndarray:
    nothing = np.zeros((0, densities.gmms.dims), np.float32)
    return np.concatenate([nothing, *(worker.features(place, densities.transform) for place in places)])


def _pdfs(hmm: KaldiHmm, paths: Sequence[Alignment]) -> list[Alignment]:
    return [None if path is None else hmm.pdf_of_transition[path] for path in paths]
