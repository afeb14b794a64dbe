"""Viterbi beam search of one utterance over HCLG (Kaldi's FasterDecoder)."""

from dataclasses import dataclass

import kaldi_decoder
import kaldifst
import numpy as np

from asr_kd.decoding.graph import Graph
from asr_kd.errors import AsrKdError


@dataclass(frozen=True)
class SearchSettings:
    """What a search is done with.

    Attributes:
        acoustic_scale: what scores are multiplied with before they meet the language model's.
        beam: paths worse than the best by more than this are dropped (natural logarithm, after scaling).
        max_active: states kept at a frame at most.
    """

    acoustic_scale: float
    beam: float
    max_active: int


@dataclass(frozen=True)
class Hypothesis:
    """The best path.

    Attributes:
        words: recognised.
        final: whether the path ended in a final state; if not it is the best partial path.
    """

    words: tuple[str, ...]
    final: bool


class Search:
    """Searches one graph, utterance after utterance."""

    def __init__(self, graph: Graph, columns: int, settings: SearchSettings) -> None:
        """A search.

        Args:
            graph: what to search.
            columns: `graph.highest_input_label()`, which a caller with several searches computes once.
            settings: scale and pruning.
        """
        # The decoder keeps no reference to its graph; without ours it would read freed memory.
        self._graph = graph
        self._columns = columns
        self._scale = np.float32(settings.acoustic_scale)
        options = kaldi_decoder.FasterDecoderOptions(beam=settings.beam, max_active=settings.max_active)
        self._decoder = kaldi_decoder.FasterDecoder(graph.hclg, options)

    def __call__(self, name: str, scores: np.ndarray) -> Hypothesis:
        """The best words of one utterance.

        Args:
            name: of the utterance, for error messages.
            scores: ``(frames, senones)``, unscaled: log posterior - log prior, or log likelihood.

        Raises:
            AsrKdError: the scores do not fit the graph, are not finite, or the search failed.
        """
        self._check(name, scores)
        scaled = np.ascontiguousarray(scores, dtype=np.float32) * self._scale
        decodable = kaldi_decoder.DecodableCtc(scaled)
        self._decoder.decode(decodable)
        final = self._decoder.reached_final()
        found, path = self._decoder.get_best_path()
        if not found:
            raise AsrKdError(f"{name}: the search lost every path; give a larger beam (decode.beams)")
        _, _, labels, _ = kaldifst.get_linear_symbol_sequence(path)
        return Hypothesis(tuple(self._graph.words[label] for label in labels), final)

    def _check(self, name: str, scores: np.ndarray) -> None:
        # The decoder checks nothing: too few columns would be searched silently, beyond the matrix.
        if scores.ndim != 2 or scores.shape[0] == 0:
            raise AsrKdError(f"{name}: scores of shape {scores.shape} where (frames, senones) are needed")
        if scores.shape[1] < self._columns:
            raise AsrKdError(
                f"{name}: scores of {scores.shape[1]} senones, but the graph reads {self._columns}; model "
                "and graph come from different alignment models: run stage align and all later stages again"
            )
        if not np.isfinite(scores).all():
            raise AsrKdError(
                f"{name}: scores that are not finite numbers; the model diverged or its features are bad"
            )
