"""Training of the alignment model: flat start, monophones, projection, decision tree, triphones."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from asr_kd import memory
from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.costs import alignment_memory, tree_memory
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.hmm import gmm_training, lda_mllt, schedule, shards, tree_statistics
from asr_kd.hmm.alignment import AlignmentSettings, check_transcripts
from asr_kd.hmm.corpus import Corpus, shard_ranges
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.densities import Densities, transformed
from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.model import GmmHmm
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.questions import cluster_questions
from asr_kd.hmm.schedule import Passes
from asr_kd.hmm.splice import delta_transform
from asr_kd.hmm.topology import states_of, write_topology
from asr_kd.hmm.tree import monophone_tree
from asr_kd.hmm.tree_building import build_tree
from asr_kd.hmm.workers import ShardWorkers
from asr_kd.jobs import Cost
from asr_kd.progress import say, track
from asr_kd.seeding import generator

# Utterances that give the Gaussian of all speech: enough for a mean and a variance.
GLOBAL_UTTERANCES = 200
ALIGNMENTS_FILE = ".alignments.npy"  # a dot file: scratch that does not become part of the artefact


def train_gmm_hmm(
    config: GmmConfig,
    index: FrameIndex,
    mfcc: np.ndarray,
    transcripts: Mapping[str, Sequence[str]],
    lexicon: Lexicon,
    seed: int,
    workers: int,
    scratch: Path | None = None,
) -> GmmHmm:
    """Train a triphone GMM-HMM from transcripts alone.

    Args:
        config: passes and sizes.
        index: of the training utterances.
        mfcc: ``(frames, cepstra)`` float32, without derivatives, mean 0 by speaker.
        transcripts: the words of every utterance.
        lexicon: pronunciations; all of its phones become phones of the model.
        seed: of the recipe.
        workers: processes; the result does not depend on it.
        scratch: folder for the alignments, 4 bytes a frame; none: a temporary one.

    Raises:
        AsrKdError: a transcript cannot be spelled out, or hardly anything could be aligned.
    """
    corpus = Corpus.of(index, mfcc, transcripts, lexicon)
    phones = PhoneTable.of(lexicon.phones)
    check_transcripts({name: transcripts[name] for name in index.ids}, corpus.lexicon, phones.names)
    settings = AlignmentSettings(config.beam, config.retry_beam, config.silence_probability)
    with shard_workers(corpus, settings, workers, scratch) as pool:
        trainer = _Trainer(pool, index, seed, config)
        passes = schedule.monophones(config, index.total_frames)
        monophones = trainer.monophones(*flat_start(phones, index, mfcc), passes)
        definition, densities = trainer.triphones(*monophones)
    return GmmHmm(definition, densities, settings)


@contextmanager
def shard_workers(
    corpus: Corpus, settings: AlignmentSettings, workers: int, scratch: Path | None = None
) -> Iterator[ShardWorkers]:
    """Processes that keep shards of a corpus, as many as there is memory for.

    What the memory budget leaves them is for graphs and features that would have to be made again.

    Args:
        corpus: to work on.
        settings: of alignment.
        workers: processes at most.
        scratch: see `train_gmm_hmm`.
    """
    cost = Cost(alignment_memory(shards.BLOCK_FRAMES))
    workers = cost.affordable(min(workers, len(shard_ranges(corpus.index))), "GMM training")
    with ExitStack() as stack:
        folder = scratch or Path(stack.enter_context(TemporaryDirectory()))
        reserved = tree_memory(corpus.index.total_frames, len(corpus.lexicon.phones))
        room = max(0, cost.room(workers) - reserved // workers)
        initargs = (corpus.with_alignments(folder / ALIGNMENTS_FILE), settings, room)
        yield stack.enter_context(ShardWorkers(workers, "GMM training", shards.initialise, initargs, folder))


class _Trainer:
    """Runs passes over the shards of one corpus."""

    def __init__(self, pool: ShardWorkers, index: FrameIndex, seed: int, config: GmmConfig) -> None:
        self._pool = pool
        self._index = index
        self._seed = seed
        self._config = config

    def monophones(
        self, definition: HmmDefinition, densities: Densities, training: Passes
    ) -> tuple[HmmDefinition, Densities]:
        """Train monophones from a flat start."""
        deque(self._run(shards.start_equally, definition, training.stride, self._seed), maxlen=0)
        return self._train(training, definition, densities)

    def triphones(self, definition: HmmDefinition, densities: Densities) -> tuple[HmmDefinition, Densities]:
        """Train triphones on derivatives, from alignments with monophones; then again on LDA and MLLT."""
        config = self._config
        self._align(definition, densities)
        tied = self._tied(definition, densities.transform)
        definition, densities = self._train(schedule.triphones(config), *tied)
        if config.transform == "deltas":
            return definition, densities
        self._align(definition, densities)
        statistics = _sum(self._run(shards.lda_pass, definition))
        transform = lda_mllt.estimate_lda(statistics, config.dimensions).astype(np.float32)
        return self._train(schedule.lda_triphones(config), *self._tied(definition, transform))

    def _tied(self, definition: HmmDefinition, transform: np.ndarray) -> tuple[HmmDefinition, Densities]:
        """Triphones with states tied by a tree and one Gaussian each, out of the alignments there are."""
        phones = definition.phones
        statistics = gather_tree_statistics(self._pool, self._index, definition, transform)
        questions = cluster_questions(statistics, phones.speech, phones.silence)
        tree, leaves = build_tree(statistics, phones, questions, self._config.leaves)
        say(f"align: a tree of {len(leaves)} senones for {len(statistics.counts)} triphone states seen")
        tied = HmmDefinition(phones, definition.topology, tree.to_bytes())
        deque(self._run(shards.retie_pass, definition, tied), maxlen=0)
        return tied, Densities(transform, leaf_gaussians(leaves))

    def _align(self, definition: HmmDefinition, densities: Densities, stride: int = 1) -> None:
        deque(self._run(shards.align_pass, definition, densities, stride), maxlen=0)

    def _train(
        self, training: Passes, definition: HmmDefinition, densities: Densities
    ) -> tuple[HmmDefinition, Densities]:
        """Expectation-maximisation along Viterbi alignments."""
        random = generator(self._seed, "gmm", training.name)
        initial = len(densities.gmms.weights)
        for number in track(range(training.passes), training.passes, training.name, "pass"):
            if number in training.realigned:
                self._align(definition, densities, training.stride)
            total = _sum(self._run(shards.training_pass, definition, densities, training.stride))
            if not total.gmm.frames:
                raise AsrKdError(
                    f"align: no utterance could be aligned with {training.name}; check transcripts and "
                    "audio, or widen align.gmm.retry_beam"
                )
            old = densities.gmms
            occupancies = np.bincount(old.owners, total.gmm.occupancy, old.pdfs)
            densities = Densities(densities.transform, gmm_training.update(old, total.gmm))
            definition = definition.with_counts(total.transition_counts)
            if number + 1 == training.passes:
                break
            if number in training.turned:
                densities = self._turn(definition, densities)
            targets = gmm_training.split_targets(occupancies, training.target(initial, number))
            densities = Densities(densities.transform, gmm_training.split(densities.gmms, targets, random))
        say(
            f"align: {training.name}: {densities.gmms.pdfs} states, {len(densities.gmms.weights)} Gaussians, "
            f"log likelihood {total.gmm.log_likelihood / total.gmm.frames:.2f} a frame, "
            f"{total.failed} utterances not aligned"
        )
        return definition, densities

    def _turn(self, definition: HmmDefinition, densities: Densities) -> Densities:
        """The same in a space where diagonal covariances fit better: one update of MLLT."""
        square = lda_mllt.estimate_mllt(_sum(self._run(shards.mllt_pass, definition, densities)))
        gmms = replace(densities.gmms, means=densities.gmms.means @ square.T)
        return Densities((square @ densities.transform).astype(np.float32), gmms)

    def _run(self, function: Callable[..., Any], *arguments: object) -> Iterator[Any]:
        return run_on_shards(self._pool, self._index, function, *arguments)


def run_on_shards(
    pool: ShardWorkers, index: FrameIndex, function: Callable[..., Any], *arguments: object
) -> Iterator[Any]:
    """Yield what `function` gives for every shard of the corpus that the workers have, in order."""
    return pool.run(function, [arguments] * len(shard_ranges(index)))


def gather_tree_statistics(
    pool: ShardWorkers, index: FrameIndex, definition: HmmDefinition, transform: np.ndarray
) -> tree_statistics.TreeStatistics:
    """Tree statistics of the whole corpus; see `shards.tree_pass` for the arguments."""
    pieces = shards.tree_pieces(index)

    def found() -> Iterator[tree_statistics.TreeStatistics]:
        for piece in range(pieces):
            yield from run_on_shards(pool, index, shards.tree_pass, definition, transform, piece, pieces)
            memory.give_back()  # what the arrays of pieces leave behind adds up

    return tree_statistics.merge(found(), len(transform), pool.scratch)


def _sum(results: Iterator[Any]) -> Any:
    # Added up in the order of the shards, so that rounding does not depend on which worker was first.
    total = next(results)
    for result in results:
        total.add(result)
    return total


def leaf_gaussians(leaves: Sequence[tree_statistics.TreeStatistics]) -> DiagonalGmms:
    """One Gaussian a leaf; leaves that saw too few frames get that of all frames."""
    counts = np.array([leaf.counts.sum() for leaf in leaves])[:, None]
    first = np.stack([leaf.first.sum(axis=0) for leaf in leaves])
    second = np.stack([leaf.second.sum(axis=0) for leaf in leaves])
    enough = counts >= gmm_training.MIN_OCCUPANCY
    counts = np.where(enough, counts, counts.sum())
    means = np.where(enough, first, first.sum(axis=0)) / counts
    variances = np.where(enough, second, second.sum(axis=0)) / counts - means**2
    return DiagonalGmms.single(means, np.maximum(variances, gmm_training.VARIANCE_FLOOR))


def flat_start(phones: PhoneTable, index: FrameIndex, mfcc: np.ndarray) -> tuple[HmmDefinition, Densities]:
    """Untrained monophones: each state has the Gaussian of utterances from all over the corpus.

    Args:
        phones: of the model.
        index: of the corpus.
        mfcc: its cepstra ``(frames, cepstra)``, which become cepstra with derivatives.
    """
    tree = monophone_tree({phone: states_of(phones, phone) for phone in phones.numbers})
    definition = HmmDefinition(phones, write_topology(phones), tree.to_bytes())
    transform = delta_transform(mfcc.shape[1])
    places = np.unique(np.linspace(0, len(index) - 1, GLOBAL_UTTERANCES).astype(int))
    features = np.concatenate([transformed(transform, mfcc[index.span(int(place))]) for place in places])
    wide = features.astype(np.float64)
    variances = np.maximum(wide.var(axis=0), gmm_training.VARIANCE_FLOOR)
    pdfs = KaldiHmm(definition).pdfs
    means, variances = (np.tile(row, (pdfs, 1)) for row in (wide.mean(axis=0), variances))
    return definition, Densities(transform, DiagonalGmms.single(means, variances))
