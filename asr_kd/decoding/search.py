"""Viterbi beam search of one utterance over HCLG (Kaldi's FasterDecoder)."""

from dataclasses import dataclass

import kaldi_decoder
import kaldifst
import numpy as np

from asr_kd.decoding.graph import Graph
from asr_kd.errors import AsrKdError

_ARC_FIELDS = 4  # at least, of an arc in a transducer's text; a final state has fewer


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


@dataclass(frozen=True, eq=False)
class Path:
    """The best path, frame by frame.

    Attributes:
        words: recognised, each with the frame at which the graph gives it out: in its word or just before; of
            words that sound alike after the word, perhaps after the last frame.
        senones: ``(frames,)`` int32.
    """

    words: tuple[tuple[str, int], ...]
    senones: np.ndarray


class Search:
    """Searches one graph, utterance after utterance."""

    def __init__(self, graph: Graph, columns: int, settings: SearchSettings) -> None:
        """A search.

        Args:
            graph: what to search.
            columns: `graph.highest_input_label`, which a caller with several searches computes once.
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
        self.start()
        self.advance(name, scores)
        return self.hypothesis(name)

    def start(self) -> None:
        """Begin an utterance, to be searched piece by piece; the words are those of the whole at once."""
        self._decoder.init_decoding()

    def advance(self, name: str, scores: np.ndarray) -> None:
        """Search the next frames of the utterance; arguments as of `__call__`."""
        self._check(name, scores)
        scaled = np.ascontiguousarray(scores, dtype=np.float32) * self._scale
        self._decoder.advance_decoding(kaldi_decoder.DecodableCtc(scaled, self._decoder.num_frames_decoded()))

    def hypothesis(self, name: str) -> Hypothesis:
        """The best words of the frames so far."""
        final = self._decoder.reached_final()
        _, _, labels, _ = kaldifst.get_linear_symbol_sequence(self._best_path(name))
        return Hypothesis(tuple(self._graph.words[label] for label in labels), final)

    def path(self, name: str) -> Path:
        """The best path of the frames so far."""
        senones: list[int] = []
        words: list[tuple[str, int]] = []
        # The only way to the arcs of a lattice in Python is its text: `state next input output [weights]`.
        for line in self._best_path(name).to_str(show_weight_one=True).splitlines():
            fields = line.split()
            if len(fields) < _ARC_FIELDS:  # a final state
                continue
            senone, word = int(fields[2]) - 1, int(fields[3])
            if word:
                words.append((self._graph.words[word], len(senones)))
            if senone >= 0:
                senones.append(senone)
        return Path(tuple(words), np.array(senones, np.int32))

    def _best_path(self, name: str) -> kaldifst.Lattice:
        found, path = self._decoder.get_best_path()
        if not found:
            raise AsrKdError(f"{name}: the search lost every path; give a larger beam (decode.beams)")
        return path

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
