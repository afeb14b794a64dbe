"""Training of the alignment model: flat start, monophones, decision tree, triphones."""

from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.hmm import gmm_training, shards, tree_statistics
from asr_kd.hmm.alignment import AlignmentSettings, check_transcripts
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.deltas import add_deltas
from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.model import GmmHmm
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.questions import cluster_questions
from asr_kd.hmm.topology import states_of, write_topology
from asr_kd.hmm.tree import monophone_tree
from asr_kd.hmm.tree_building import build_tree
from asr_kd.hmm.workers import ShardWorkers
from asr_kd.progress import say, track
from asr_kd.seeding import generator

# Mixtures grow over this share of the passes, as in Kaldi's recipes; the rest settles them.
GROWING_SHARE = 0.7
# Monophones have few parameters: in a larger corpus they learn from utterances of an hour, evenly spread.
MONOPHONE_FRAMES = 360_000
# Utterances that give the Gaussian of all speech: enough for a mean and a variance.
GLOBAL_UTTERANCES = 200


def train_gmm_hmm(
    config: GmmConfig,
    index: FrameIndex,
    mfcc: np.ndarray,
    transcripts: Mapping[str, Sequence[str]],
    lexicon: Lexicon,
    seed: int,
    workers: int,
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

    Raises:
        AsrKdError: a transcript cannot be spelled out, or hardly anything could be aligned.
    """
    corpus = shards.Corpus.of(index, mfcc, transcripts, lexicon)
    phones = PhoneTable.of(lexicon.phones)
    check_transcripts(corpus.transcripts, corpus.lexicon, phones.names)
    settings = AlignmentSettings(config.beam, config.retry_beam, config.silence_probability)
    pieces = len(shards.shard_ranges(index))
    with ShardWorkers(min(workers, pieces), "GMM training", shards.initialise, (corpus, settings)) as pool:
        trainer = _Trainer(pool, pieces, seed, _global_gaussian(index, mfcc))
        stride = max(1, round(index.total_frames / MONOPHONE_FRAMES))
        monophones = trainer.monophones(phones, config, stride)
        triphones, gmms = trainer.triphones(*monophones, config)
    return GmmHmm(triphones, gmms, settings)


class _Trainer:
    """Runs passes over the shards of one corpus."""

    def __init__(
        self, pool: ShardWorkers, pieces: int, seed: int, everything: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._pool = pool
        self._pieces = pieces
        self._seed = seed
        self._mean, self._variance = everything

    def monophones(
        self, phones: PhoneTable, config: GmmConfig, stride: int
    ) -> tuple[HmmDefinition, DiagonalGmms]:
        """Train monophones from a flat start, on every `stride`-th utterance."""
        tree = monophone_tree({phone: states_of(phones, phone) for phone in phones.numbers})
        definition = HmmDefinition(phones, write_topology(phones), tree.to_bytes())
        pdfs = KaldiHmm(definition).pdfs
        gmms = DiagonalGmms.single(np.tile(self._mean, (pdfs, 1)), np.tile(self._variance, (pdfs, 1)))
        deque(self._run(shards.start_equally, definition, stride, self._seed), maxlen=0)
        passes = config.monophone_passes
        realigned = {*range(1, 10), *range(10, passes, 3)}
        return self._passes(
            "monophones", definition, gmms, passes, config.monophone_gaussians, realigned, stride
        )

    def triphones(
        self, monophones: HmmDefinition, monophone_gmms: DiagonalGmms, config: GmmConfig
    ) -> tuple[HmmDefinition, DiagonalGmms]:
        """Grow a tree from alignments with monophones and train its leaves."""
        phones = monophones.phones
        owners = [(phone, state) for phone in phones.numbers for state in range(states_of(phones, phone))]
        phone_of_pdf, class_of_pdf = (np.array(column) for column in zip(*owners, strict=True))
        pieces = self._run(shards.tree_pass, monophones, monophone_gmms, phone_of_pdf, class_of_pdf)
        statistics = tree_statistics.merge(pieces, len(self._mean))
        questions = cluster_questions(statistics, phones.speech, phones.silence)
        tree, leaves = build_tree(statistics, phones, questions, config.leaves)
        say(f"align: a tree of {len(leaves)} senones for {len(statistics.counts)} triphone states seen")
        definition = HmmDefinition(phones, monophones.topology, tree.to_bytes())
        passes = config.triphone_passes
        realigned = {0, 1, 2, *range(4, passes, 4)}
        return self._passes(
            "triphones", definition, self._leaf_gaussians(leaves), passes, config.gaussians, realigned
        )

    def _leaf_gaussians(self, leaves: Sequence[tree_statistics.TreeStatistics]) -> DiagonalGmms:
        counts = np.array([leaf.counts.sum() for leaf in leaves])[:, None]
        safe = np.maximum(counts, 1e-10)
        means = np.stack([leaf.first.sum(axis=0) for leaf in leaves]) / safe
        variances = np.stack([leaf.second.sum(axis=0) for leaf in leaves]) / safe - means**2
        enough = counts >= gmm_training.MIN_OCCUPANCY
        return DiagonalGmms.single(
            np.where(enough, means, self._mean),
            np.where(enough, np.maximum(variances, gmm_training.VARIANCE_FLOOR), self._variance),
        )

    def _passes(
        self,
        name: str,
        definition: HmmDefinition,
        gmms: DiagonalGmms,
        passes: int,
        gaussians: int,
        realigned: Container[int],
        stride: int = 1,
    ) -> tuple[HmmDefinition, DiagonalGmms]:
        """Expectation-maximisation along Viterbi alignments, which are renewed in the passes `realigned`."""
        random = generator(self._seed, "gmm", name)
        initial, growing = len(gmms.weights), max(1, round(GROWING_SHARE * passes))
        for number in track(range(passes), passes, name, "pass"):
            total = self._statistics(definition, gmms, stride, number in realigned)
            if not total.gmm.frames:
                raise AsrKdError(
                    f"align: no utterance could be aligned with {name}; check transcripts and audio, "
                    "or widen align.gmm.retry_beam"
                )
            occupancies = np.bincount(gmms.owners, total.gmm.occupancy, gmms.pdfs)
            gmms = gmm_training.update(gmms, total.gmm)
            definition = definition.with_counts(total.transition_counts)
            if number + 1 < passes:
                target = initial + round((gaussians - initial) * min(1.0, (number + 1) / growing))
                gmms = gmm_training.split(gmms, gmm_training.split_targets(occupancies, target), random)
        say(
            f"align: {name}: {gmms.pdfs} states, {len(gmms.weights)} Gaussians, "
            f"log likelihood {total.gmm.log_likelihood / total.gmm.frames:.2f} a frame, "
            f"{total.failed} utterances not aligned"
        )
        return definition, gmms

    def _statistics(
        self, definition: HmmDefinition, gmms: DiagonalGmms, stride: int, realign: bool
    ) -> shards.PassResult:
        total: shards.PassResult | None = None
        # Added up in the order of the shards, so that rounding does not depend on which worker was first.
        for result in self._run(shards.training_pass, definition, gmms, stride, realign):
            if total is None:
                total = result
            else:
                total.add(result)
        assert total is not None
        return total

    def _run(self, function: Callable[..., Any], *arguments: object) -> Iterator[Any]:
        return self._pool.run(function, [arguments] * self._pieces)


def _global_gaussian(index: FrameIndex, mfcc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance ``(dims,)`` of the features of utterances from all over the corpus."""
    places = np.unique(np.linspace(0, len(index) - 1, GLOBAL_UTTERANCES).astype(int))
    features = np.concatenate([add_deltas(mfcc[index.span(int(place))]) for place in places])
    wide = features.astype(np.float64)
    return wide.mean(axis=0), np.maximum(wide.var(axis=0), gmm_training.VARIANCE_FLOOR)
