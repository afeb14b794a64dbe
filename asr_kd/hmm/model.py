"""The alignment model: a triphone GMM-HMM."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.costs import alignment_memory
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.hmm import shards
from asr_kd.hmm.alignment import AlignmentSettings, check_transcripts
from asr_kd.hmm.corpus import Corpus, shard_ranges
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.densities import Densities
from asr_kd.hmm.labels import NO_LABEL
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.workers import ShardWorkers
from asr_kd.jobs import Cost
from asr_kd.progress import track

SETTINGS_FILE = "settings.json"
SCORED_BYTES = 8_000_000  # of a network's scores that travel to a worker at once


@dataclass(frozen=True, eq=False)
class GmmHmm:
    """Hidden Markov models of triphones with one Gaussian mixture for each senone.

    Attributes:
        definition: phones, topology, tree and transitions.
        densities: a mixture for each senone.
        settings: how it aligns.
    """

    definition: HmmDefinition
    densities: Densities
    settings: AlignmentSettings

    @property
    def senones(self) -> int:
        """The number of senones (pdf-ids)."""
        return self.densities.gmms.pdfs

    @property
    def phones(self) -> PhoneTable:
        """Its phones."""
        return self.definition.phones

    @cached_property
    def hmm(self) -> KaldiHmm:
        """Kaldi's objects, for building graphs."""
        return KaldiHmm(self.definition)

    def senone_phones(self) -> list[str]:
        """The central phone of every senone; several senones share one and differ in state and context."""
        names = [""] * self.senones
        for label, pdf in enumerate(self.hmm.pdf_of_transition):
            if label:
                names[pdf] = self.phones.names[self.hmm.transitions.transition_id_to_phone(label) - 1]
        return names

    def log_likelihoods(self, mfcc: np.ndarray) -> np.ndarray:
        """Log likelihoods of all senones for one utterance.

        Args:
            mfcc: ``(frames, cepstra)`` float32, without derivatives.

        Returns:
            ``(frames, senones)`` float32.
        """
        return self.densities.log_likelihoods(mfcc)

    def align(
        self,
        index: FrameIndex,
        mfcc: np.ndarray,
        transcripts: Mapping[str, Sequence[str]],
        lexicon: Lexicon,
        workers: int,
        labels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, list[str]]:
        """The senone of every frame.

        Args:
            index: of the utterances to align.
            mfcc: ``(frames, cepstra)`` float32.
            transcripts: the words of every utterance.
            lexicon: with a pronunciation for each of them.
            workers: processes.
            labels: where to write, ``(frames,)`` int32, perhaps in a file; none: a new array.

        Returns:
            The labels, -1 in utterances that could not be aligned, and the ids of those.

        Raises:
            AsrKdError: a transcript has a word or phone that is unknown.
        """
        check_transcripts({name: transcripts[name] for name in index.ids}, lexicon, self.phones.names)
        ranges = shard_ranges(index)
        pieces = [(self.definition, self.densities)] * len(ranges)
        corpus = Corpus.of(index, mfcc, transcripts, lexicon)
        return self._align(corpus, workers, shards.label_pass, ranges, pieces, labels)

    def align_scores(
        self,
        index: FrameIndex,
        transcripts: Mapping[str, Sequence[str]],
        lexicon: Lexicon,
        workers: int,
        scores_of_utterance: Callable[[str], np.ndarray],
        labels: np.ndarray | None = None,
    ) -> tuple[np.ndarray, list[str]]:
        """The same with the scores of a network instead of the mixtures: realignment.

        Args:
            index: of the utterances to align.
            transcripts: the words of every utterance.
            lexicon: with a pronunciation for each of them.
            workers: processes that search; the scores are computed in this one.
            scores_of_utterance: from an utterance id to log posteriors minus log priors, unscaled,
                ``(frames, senones)`` float32.
            labels: as for `align`.

        Raises:
            AsrKdError: scores have the wrong shape, or as for `align`.
        """
        check_transcripts({name: transcripts[name] for name in index.ids}, lexicon, self.phones.names)
        # Scores are large, and those of several pieces are on their way to the workers.
        ranges = index.ranges(SCORED_BYTES // (4 * self.senones))

        def pieces() -> Iterable[tuple[Any, ...]]:
            for places in ranges:
                names = [index.ids[place] for place in places]
                scores = [self._checked_scores(index, name, scores_of_utterance) for name in names]
                yield self.definition, places, scores

        corpus = Corpus.of(index, np.zeros((0, 0), np.float32), transcripts, lexicon)
        return self._align(corpus, workers, shards.score_pass, ranges, pieces(), labels)

    def _checked_scores(
        self, index: FrameIndex, utterance: str, scores_of_utterance: Callable[[str], np.ndarray]
    ) -> np.ndarray:
        scores = np.asarray(scores_of_utterance(utterance), dtype=np.float32)
        span = index.span(utterance)
        expected = (span.stop - span.start, self.senones)
        if scores.shape != expected or not np.isfinite(scores).all():
            raise AsrKdError(
                f"utterance {utterance}: scores of shape {scores.shape} where finite ones of {expected} are "
                "needed; was the network trained on labels of another alignment model?"
            )
        return scores

    def _align(
        self,
        corpus: Corpus,
        workers: int,
        function: Callable[..., Any],
        ranges: Sequence[range],
        arguments: Iterable[tuple[Any, ...]],
        given: np.ndarray | None,
    ) -> tuple[np.ndarray, list[str]]:
        index = corpus.index
        labels = np.empty(index.total_frames, dtype=np.int32) if given is None else given
        failed = []
        workers = Cost(alignment_memory(0)).affordable(min(workers, len(ranges)), "alignment")
        with ShardWorkers(workers, "alignment", shards.initialise, (corpus, self.settings)) as pool:
            results = track(pool.run(function, arguments), len(ranges), "alignment", "shard")
            for places, aligned in zip(ranges, results, strict=True):
                for place, own in zip(places, aligned, strict=True):
                    if own is None:
                        failed.append(index.ids[place])
                    labels[index.span(place)] = NO_LABEL if own is None else own
        return labels, failed

    def save(self, folder: Path) -> None:
        """Write the model into an existing folder: text, NumPy arrays and Kaldi's binary tree."""
        self.definition.save(folder)
        self.densities.save(folder)
        (folder / SETTINGS_FILE).write_text(json.dumps(asdict(self.settings)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "GmmHmm":
        """Read what `save` wrote.

        Raises:
            AsrKdError: a file is missing or damaged, or they do not belong together.
        """
        definition, densities = HmmDefinition.load(folder), Densities.load(folder)
        try:
            content = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            settings = AlignmentSettings(**content)
        except (OSError, ValueError, TypeError) as error:
            raise AsrKdError(f"{folder / SETTINGS_FILE} cannot be read ({error}); run stage align") from error
        model = cls(definition, densities, settings)
        if model.hmm.pdfs != model.senones:
            raise AsrKdError(
                f"{folder}: the tree has {model.hmm.pdfs} senones, the mixtures {model.senones}; "
                "run stage align again"
            )
        return model
