"""What worker processes do with their shards of a corpus. Runs only inside `workers.ShardWorkers`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from asr_kd import memory
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.hmm import gmm_training, lda_mllt, tree_statistics
from asr_kd.hmm.alignment import (
    AlignmentSettings,
    GraphCompiler,
    TranscriptGraph,
    align,
    align_equally,
    retied,
)
from asr_kd.hmm.corpus import Corpus, shard_ranges
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.densities import Densities, transformed
from asr_kd.hmm.splice import splice
from asr_kd.seeding import derive_seed

Value = TypeVar("Value")

# Frames that statistics are gathered from at once: shards of a large corpus are taken in pieces.
BLOCK_FRAMES = 32_000
# Frames of a shard whose tree statistics travel at once: they have nearly as many events as words are spoken,
# until every triphone has been.
TREE_FRAMES = 32_000

Alignment = np.ndarray | None


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


class _Kept(dict[int, Value]):
    """What is made of utterances, as far as it fits in `room` bytes; what does not is made again."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room, self._used = room, 0

    def keep(self, place: int, value: Value, size: int) -> None:
        """Keep `value`, of `size` bytes, if it fits."""
        if self._used + size <= self._room:
            self[place] = value
            self._used += size

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._used = 0


class _Worker:
    """The state of one worker process."""

    def __init__(self, corpus: Corpus, settings: AlignmentSettings, room: int) -> None:
        self.corpus, self.settings, self.ranges = corpus, settings, shard_ranges(corpus.index)
        self.mfcc = np.load(corpus.mfcc, mmap_mode="r") if isinstance(corpus.mfcc, str) else corpus.mfcc
        path = corpus.alignments
        self._alignments = np.zeros(0, np.int32) if path is None else open_frames(path, writable=True)
        self._hmm: KaldiHmm | None = None
        self._compiler: GraphCompiler | None = None
        # Graphs cost more time than features, and for the same audio a little more room.
        self._graphs = _Kept[TranscriptGraph](room // 2)
        self._transform: np.ndarray | None = None
        self._features = _Kept[np.ndarray](room // 2)

    def use(self, definition: HmmDefinition) -> KaldiHmm:
        """Take up a model; graphs stay while the tree does."""
        if self._hmm is None or self._hmm.definition.tree != definition.tree:
            self._hmm = KaldiHmm(definition)
            self._compiler = GraphCompiler(self._hmm, self.corpus.lexicon, self.settings.silence_probability)
            self._graphs.clear()
        elif definition.transition_counts is not None:
            self._hmm.set_transitions(definition.transition_counts)
        return self._hmm

    def graph(self, place: int) -> TranscriptGraph:
        """The graph of one utterance."""
        if place in self._graphs:
            return self._graphs[place]
        assert self._compiler is not None
        graph = self._compiler.compile(self.corpus.transcripts.words(place))
        self._graphs.keep(place, graph, graph.bytes)
        return graph

    def places(self, shard: int, stride: int) -> list[int]:
        """Every `stride`-th utterance of the corpus that is in the shard."""
        return [place for place in self.ranges[shard] if place % stride == 0]

    def cepstra(self, place: int) -> np.ndarray:
        """``(frames, cepstra)`` of an utterance."""
        return self.mfcc[self.corpus.index.span(place)]

    def features(self, place: int, transform: np.ndarray) -> np.ndarray:
        """Transformed cepstra of an utterance, ``(frames, dims)`` float32."""
        if self._transform is None or not np.array_equal(transform, self._transform):
            self._transform = transform
            self._features.clear()
        if place in self._features:
            return self._features[place]
        features = transformed(transform, self.cepstra(place))
        self._features.keep(place, features, features.nbytes)
        return features

    def align(self, place: int, path: Alignment) -> None:
        """Note the alignment of an utterance, or that it has none."""
        self._alignments[self.corpus.index.span(place)] = 0 if path is None else path

    def aligned(self, places: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Those of the utterances that have an alignment, with it."""
        for place in places:
            path = np.array(self._alignments[self.corpus.index.span(place)])
            if path.all():
                yield place, path

    def blocks(self, places: Iterable[int], transform: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features and transition ids of those of the utterances that have an alignment, end to end."""
        block: list[tuple[int, np.ndarray]] = []
        frames = 0
        for place, path in self.aligned(places):
            if block and frames + len(path) > BLOCK_FRAMES:
                yield self._joined(block, transform)
                block, frames = [], 0
            block.append((place, path))
            frames += len(path)
        yield self._joined(block, transform)

    def _joined(
        self, block: list[tuple[int, np.ndarray]], transform: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        features = [np.zeros((0, len(transform)), np.float32)]
        features += [self.features(place, transform) for place, _ in block]
        return np.concatenate(features), np.concatenate([np.zeros(0, np.int32), *(path for _, path in block)])


_workers: list[_Worker] = []


def initialise(corpus: Corpus, settings: AlignmentSettings, room: int = 0) -> None:
    """Set up this process, with `room` bytes for what need not be made again; of `ShardWorkers`."""
    _workers[:] = [_Worker(corpus, settings, room)]


def start_equally(shard: int, definition: HmmDefinition, stride: int, seed: int) -> None:
    """Give every `stride`-th utterance its equal alignment."""
    worker = _workers[0]
    worker.use(definition)
    index, lengths = worker.corpus.index, worker.corpus.index.lengths
    for place in worker.places(shard, stride):
        own_seed = derive_seed(seed, "equal alignment", index.ids[place]) % 2**31
        worker.align(place, align_equally(worker.graph(place), int(lengths[place]), own_seed))


def align_pass(shard: int, definition: HmmDefinition, densities: Densities, stride: int) -> None:
    """Renew the alignment of every `stride`-th utterance."""
    worker = _workers[0]
    hmm = worker.use(definition)
    for place in worker.places(shard, stride):
        worker.align(place, _align(worker, hmm, place, densities))


def training_pass(shard: int, definition: HmmDefinition, densities: Densities, stride: int) -> PassResult:
    """Accumulate the statistics of every `stride`-th utterance along its alignment."""
    worker = _workers[0]
    hmm = worker.use(definition)
    places = worker.places(shard, stride)
    total = PassResult(
        gmm_training.GmmStatistics.zeros(len(densities.gmms.weights), densities.gmms.dims),
        np.zeros(hmm.transitions.num_transition_ids + 1),
        failed=len(places) - sum(1 for _ in worker.aligned(places)),
    )
    for frames, transitions in worker.blocks(places, densities.transform):
        counts = np.bincount(transitions, minlength=len(total.transition_counts))
        gmm = gmm_training.accumulate(densities.gmms, frames, hmm.pdf_of_transition[transitions])
        total.add(PassResult(gmm, counts.astype(np.float64), failed=0))
    return total


def one_of_each_pdf(
    shard: int, definition: HmmDefinition, transform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A frame ``(pdfs, dims)`` of every pdf that the shard's alignments have, and these pdfs."""
    worker = _workers[0]
    hmm = worker.use(definition)
    frames, transitions = next(worker.blocks(worker.ranges[shard], transform))
    pdfs, places = np.unique(hmm.pdf_of_transition[transitions], return_index=True)
    return frames[places], pdfs


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
    dims = densities.gmms.dims
    total = lda_mllt.MlltStatistics(np.zeros((dims, dims, dims)), 0)
    for frames, transitions in worker.blocks(worker.ranges[shard], densities.transform):
        total.add(lda_mllt.MlltStatistics.of(densities.gmms, frames, hmm.pdf_of_transition[transitions]))
    return total


def tree_pieces(index: FrameIndex) -> int:
    """In how many pieces `tree_pass` goes through a shard of a corpus."""
    return -(-index.total_frames // (TREE_FRAMES * len(shard_ranges(index))))


def tree_pass(
    shard: int, definition: HmmDefinition, transform: np.ndarray, piece: int = 0, pieces: int = 1
) -> tree_statistics.TreeStatistics:
    """Tree statistics of transformed cepstra along the alignments, of one of some pieces of the shard."""
    worker = _workers[0]
    own = worker.ranges[shard]
    places = own[len(own) * piece // pieces : len(own) * (piece + 1) // pieces]
    owners = worker.use(definition).owner_of_transition
    utterances = (
        tree_statistics.accumulate(
            tree_statistics.utterance_events(owners[path, 0], owners[path, 1]),
            worker.features(place, transform),
        )
        for place, path in worker.aligned(places)
    )
    statistics = tree_statistics.merge(utterances, len(transform))
    memory.give_back()  # what the arrays of utterances leave behind adds up
    return statistics


def retie_pass(shard: int, before: HmmDefinition, after: HmmDefinition) -> None:
    """Express the alignments in the transitions of another tree."""
    worker = _workers[0]
    old, new = KaldiHmm(before), KaldiHmm(after)
    for place, path in worker.aligned(worker.ranges[shard]):
        worker.align(place, retied(path, old, new))


def label_pass(shard: int, definition: HmmDefinition, densities: Densities) -> list[Alignment]:
    """The pdf of every frame of every utterance of the shard."""
    worker = _workers[0]
    hmm = worker.use(definition)
    paths = [_align(worker, hmm, place, densities) for place in worker.ranges[shard]]
    return _pdfs(hmm, paths)


def score_pass(
    _: int, definition: HmmDefinition, places: range, scores: Sequence[np.ndarray]
) -> list[Alignment]:
    """The same of some utterances with given log likelihoods ``(frames, senones)`` of each."""
    worker = _workers[0]
    hmm = worker.use(definition)
    paths = []
    for place, table in zip(places, scores, strict=True):
        graph = worker.graph(place)
        own = table[:, graph.pdfs]
        paths.append(align(hmm, graph, own, worker.settings, worker.corpus.index.ids[place]))
    return _pdfs(hmm, paths)


def _align(worker: _Worker, hmm: KaldiHmm, place: int, densities: Densities) -> Alignment:
    graph = worker.graph(place)
    features = worker.features(place, densities.transform)
    scores = densities.gmms.log_likelihoods(features, graph.pdfs)
    return align(hmm, graph, scores, worker.settings, worker.corpus.index.ids[place])


def _pdfs(hmm: KaldiHmm, paths: Sequence[Alignment]) -> list[Alignment]:
    return [None if path is None else hmm.pdf_of_transition[path] for path in paths]
