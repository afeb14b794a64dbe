"""Word errors, counted by utterance so that they can be summed and resampled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from asr_kd.errors import AsrKdError


@dataclass(frozen=True)
class ErrorCounts:
    """Word errors of one or more utterances.

    Attributes:
        words: of the reference.
        substitutions: words recognised as another.
        deletions: words not recognised.
        insertions: words recognised that were not said.
    """

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Errors by reference words, a fraction (above 1 where much was inserted).

        Raises:
            AsrKdError: there are no reference words.
        """
        if not self.words:
            raise AsrKdError(
                "no word error rate without reference words; the transcripts of this part are empty"
            )
        return self.errors / self.words

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def count_errors(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]]
) -> dict[str, ErrorCounts]:
    """Word errors of every utterance, in the order of `references`, by minimum edit distance (jiwer).

    Args:
        references: the words that were said, by utterance id; may be empty.
        hypotheses: the words that were recognised; exactly the same ids.

    Raises:
        AsrKdError: an utterance has only one of the two; names it.
    """
    unpaired = sorted(references.keys() ^ hypotheses.keys())
    if unpaired:
        lacks = "hypothesis" if unpaired[0] in references else "reference"
        raise AsrKdError(
            f"{len(unpaired)} utterances have no reference or no hypothesis, first {unpaired[0]!r} "
            f"(no {lacks}); decode exactly the utterances that are scored"
        )
    if not references:
        return {}
    ids = list(references)
    aligned = jiwer.process_words(
        [" ".join(references[name]) for name in ids], [" ".join(hypotheses[name]) for name in ids]
    )
    return {
        name: _count(len(references[name]), chunks)
        for name, chunks in zip(ids, aligned.alignments, strict=True)
    }


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The sum over utterances: a WER is all errors by all words, never a mean of utterances' WERs."""
    return sum(counts, ErrorCounts())


def by_group(counts: Mapping[str, ErrorCounts], groups: Mapping[str, str]) -> dict[str, ErrorCounts]:
    """The sums by group (speaker) of utterances, sorted by group.

    Args:
        counts: by utterance id.
        groups: the group of each utterance id.
    """
    sums: dict[str, ErrorCounts] = {}
    for name, count in counts.items():
        sums[groups[name]] = sums.get(groups[name], ErrorCounts()) + count
    return dict(sorted(sums.items()))


def as_arrays(counts: Iterable[ErrorCounts]) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words, each ``(units,)`` int64."""
    pairs = np.array([(count.errors, count.words) for count in counts], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _count(words: int, chunks: Iterable[jiwer.AlignmentChunk]) -> ErrorCounts:
    found = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        reference = chunk.ref_end_idx - chunk.ref_start_idx
        found[chunk.type] += reference or chunk.hyp_end_idx - chunk.hyp_start_idx
    return ErrorCounts(words, found["substitute"], found["delete"], found["insert"])
