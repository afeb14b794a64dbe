"""How long passes over a corpus take, measured on a few utterances: for estimates before a training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TypeVar

import numpy as np

from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.frames import FrameIndex
from asr_kd.hmm import gmm_training, lda_mllt, schedule, shards, tree_statistics
from asr_kd.hmm.alignment import AlignmentSettings
from asr_kd.hmm.corpus import Corpus
from asr_kd.hmm.definition import HmmDefinition
from asr_kd.hmm.densities import Densities
from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.questions import cluster_questions
from asr_kd.hmm.topology import PHONE_STATES
from asr_kd.hmm.training import ALIGNMENTS_FILE, flat_start, leaf_gaussians
from asr_kd.hmm.tree_building import build_tree
from asr_kd.seeding import generator

Result = TypeVar("Result")

# What is measured, a frame.
START, GRAPHS, TREE, LDA, MLLT = "first graphs", "triphone graphs", "tree statistics", "LDA", "MLLT"
MONOPHONE_PASS, MONOPHONE_ALIGNMENT = "monophone pass", "monophone alignment"
TRIPHONE_PASS, TRIPHONE_ALIGNMENT = "triphone pass", "triphone alignment"
# Of every shard, for each pdf in it: however few frames it has there.
PDF, MLLT_PDF = "triphone pdf", "MLLT pdf"
GAUSSIAN = "Gaussian"  # a frame and Gaussian
_STATE_FRAMES = 6  # that speech stays in a state
_WARMING_PASSES = 2  # so that states differ, as they soon do
# Mixtures have, over all passes of a training, this share of the Gaussians that they end with.
_MEAN_SHARE = 1 - schedule.GROWING_SHARE / 2
_KEPT_BYTES = 1_000_000_000  # graphs and features of the sample, as those of shards are kept


def count_passes(config: GmmConfig, frames: int, shards: int = 1) -> dict[str, float]:
    """The units of work of a training on so many frames in some shards, see `measure_passes`."""
    first, second, third = (
        schedule.monophones(config, frames),
        schedule.triphones(config),
        schedule.lda_triphones(config),
    )
    models = 1 if config.transform == "deltas" else 2
    alignments = second.alignments + (third.alignments + 1) * (models - 1)
    counts = {
        START: 1.0,
        MONOPHONE_PASS: first.passes / first.stride,
        MONOPHONE_ALIGNMENT: 1 + first.alignments / first.stride,
        TREE: models,
        GRAPHS: models,
        TRIPHONE_PASS: config.triphone_passes * models,
        TRIPHONE_ALIGNMENT: alignments,
        LDA: models - 1,
        MLLT: third.turns * (models - 1),
    }
    pdfs = shards * _distinct(config.leaves, frames / shards / _STATE_FRAMES)
    calls = {PDF: counts[TRIPHONE_PASS] * pdfs, MLLT_PDF: counts[MLLT] * pdfs}
    return {name: count * frames for name, count in counts.items()} | calls


def measure_passes(
    config: GmmConfig,
    index: FrameIndex,
    mfcc: np.ndarray,
    transcripts: Mapping[str, Sequence[str]],
    lexicon: Lexicon,
) -> dict[str, float]:
    """Seconds a frame of every kind of pass, in this process.

    A sample has too few frames for mixtures as large as those of the training: they are split all the same,
    to the mean size that they have there.

    Args:
        config: passes and sizes of the training.
        index: of the sample.
        mfcc: its cepstra ``(frames, cepstra)`` float32.
        transcripts: the words of every utterance.
        lexicon: pronunciations.
    """
    phones = PhoneTable.of(lexicon.phones)
    corpus = Corpus.of(index, mfcc, transcripts, lexicon)
    settings = AlignmentSettings(config.beam, config.retry_beam, config.silence_probability)
    with TemporaryDirectory() as folder:
        aligned = corpus.with_alignments(Path(folder) / ALIGNMENTS_FILE)
        return _Sample(config, aligned, settings, phones).measure(*flat_start(phones, index, mfcc))


class _Sample:
    """The passes of `shards`, over a corpus small enough for one shard."""

    def __init__(
        self, config: GmmConfig, corpus: Corpus, settings: AlignmentSettings, phones: PhoneTable
    ) -> None:
        shards.initialise(corpus, settings, _KEPT_BYTES)
        self._config, self._phones, self._frames = config, phones, corpus.index.total_frames
        lengths = [
            sum(len(corpus.lexicon.entries[word][0]) for word in corpus.transcripts.words(place))
            for place in range(len(corpus.index))
        ]
        self._states = PHONE_STATES * sum(lengths) / len(lengths)
        self._found: dict[str, float] = {}

    def measure(self, definition: HmmDefinition, densities: Densities) -> dict[str, float]:
        """See `measure_passes`; from a flat start."""
        self._timed(START, shards.start_equally, definition, 1, 0)
        for _ in range(_WARMING_PASSES):
            total = shards.training_pass(0, definition, densities, 1)
            gmms = gmm_training.update(densities.gmms, total.gmm)
            densities = Densities(densities.transform, gmms)
            definition = definition.with_counts(total.transition_counts)
            shards.align_pass(0, definition, densities, 1)
        size = self._config.monophone_gaussians / densities.gmms.pdfs
        self._time_pass(MONOPHONE_PASS, MONOPHONE_ALIGNMENT, definition, densities, size, 1.0)
        shards.align_pass(0, definition, densities, 1)
        statistics = self._timed(TREE, shards.tree_pass, definition, densities.transform)
        self._measure_triphones(definition, densities, statistics)
        return self._found

    def _measure_triphones(
        self, before: HmmDefinition, densities: Densities, statistics: tree_statistics.TreeStatistics
    ) -> None:
        config = self._config
        questions = cluster_questions(statistics, self._phones.speech, self._phones.silence)
        tree, leaves = build_tree(statistics, self._phones, questions, config.leaves)
        definition = HmmDefinition(self._phones, before.topology, tree.to_bytes())
        densities = Densities(densities.transform, leaf_gaussians(leaves))
        shards.retie_pass(0, before, definition)
        self._timed(GRAPHS, shards.align_pass, definition, densities, 1)
        self._timed(TRIPHONE_ALIGNMENT, shards.align_pass, definition, densities, 1)
        # The first alignment made graphs as well.
        self._found[GRAPHS] = max(0.0, self._found[GRAPHS] - self._found[TRIPHONE_ALIGNMENT])
        # A larger tree has more of its leaves in an utterance: so many more Gaussians are looked at.
        more = _distinct(config.leaves, self._states) / _distinct(len(leaves), self._states)
        size = config.gaussians / config.leaves
        self._time_pass(TRIPHONE_PASS, TRIPHONE_ALIGNMENT, definition, densities, size, max(1.0, more))
        self._timed(LDA, shards.lda_pass, definition)
        grown = _grown(densities, size)
        self._timed(MLLT, shards.mllt_pass, definition, grown)
        some = shards.one_of_each_pdf(0, definition, densities.transform)
        self._time_pdf(PDF, TRIPHONE_PASS, gmm_training.accumulate, grown.gmms, *some)
        self._time_pdf(MLLT_PDF, MLLT, lda_mllt.MlltStatistics.of, grown.gmms, *some)
        started = perf_counter()
        sample = np.zeros((1000, densities.gmms.dims), np.float32)
        densities.gmms.log_likelihoods(sample)
        seconds = perf_counter() - started
        self._found[GAUSSIAN] = seconds / len(sample) / len(densities.gmms.weights)

    def _time_pass(
        self,
        training: str,
        alignment: str,
        definition: HmmDefinition,
        densities: Densities,
        size: float,
        more: float,
    ) -> None:
        """Time a pass and an alignment with mixtures that end with `size` Gaussians, `more` pdfs in view."""
        self._timed(training, shards.training_pass, definition, _grown(densities, size), 1)
        self._timed(alignment, shards.align_pass, definition, _grown(densities, size * more), 1)

    def _time_pdf(
        self, name: str, pass_name: str, function: Callable[..., object], gmms: DiagonalGmms,
        frames: np.ndarray, pdfs: np.ndarray,
    ) -> None:  # fmt: skip
        """Time statistics of a frame a pdf, and take it out of the pass."""
        started = perf_counter()
        function(gmms, frames, pdfs)
        seconds = perf_counter() - started
        self._found[name] = seconds / len(pdfs)
        self._found[pass_name] = max(0.0, self._found[pass_name] - seconds / self._frames)

    def _timed(self, name: str, function: Callable[..., Result], *arguments: object) -> Result:
        started = perf_counter()
        result = function(0, *arguments)
        self._found[name] = (perf_counter() - started) / self._frames
        return result


def _grown(densities: Densities, size: float) -> Densities:
    """The densities with mixtures of the size that those which end with `size` Gaussians have on average."""
    mean = 1 + _MEAN_SHARE * (max(1.0, size) - 1)
    gmms = densities.gmms
    # Sizes are whole numbers, their mean is not.
    shares = np.arange(gmms.pdfs) * mean
    targets = np.maximum(1, np.floor(shares + mean) - np.floor(shares)).astype(np.int64)
    return replace(densities, gmms=gmm_training.split(gmms, targets, generator(0, "speed")))


def _distinct(leaves: int, states: float) -> float:
    """How many different ones of some leaves are among so many states, drawn at random."""
    return float(leaves * (1 - (1 - 1 / leaves) ** states))
