"""Word errors: aligned by jiwer, counted by utterance so that they can be summed and resampled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import jiwer
import kaldialign
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


@dataclass(frozen=True)
class Alignment:
    """The words of one utterance, each beside what was recognised for it.

    Attributes:
        pairs: (said, recognised), in order; None: nothing was said (an insertion) or recognised (a deletion).
    """

    pairs: tuple[tuple[str | None, str | None], ...]

    @cached_property
    def counts(self) -> ErrorCounts:
        """The errors of this utterance."""
        insertions = sum(said is None for said, _ in self.pairs)
        deletions = sum(recognised is None for _, recognised in self.pairs)
        wrong = sum(said != recognised for said, recognised in self.pairs)
        substitutions = wrong - insertions - deletions
        return ErrorCounts(len(self.pairs) - insertions, substitutions, deletions, insertions)

    def slots(self) -> np.ndarray:
        """The errors ``(2 * words + 1,)`` int64 in their places, for `significance.matched_pairs`."""
        errors = np.zeros(2 * self.counts.words + 1, dtype=np.int64)
        words = 0
        for said, recognised in self.pairs:
            if said is None:
                errors[2 * words] += 1
            else:
                if said != recognised:
                    errors[2 * words + 1] = 1
                words += 1
        return errors


def align_words(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]]
) -> dict[str, Alignment]:
    """Align every utterance, in the order of `references`, by minimum edit distance (jiwer).

    Of several alignments with the fewest errors the one with the most words right is taken, as NIST's sclite
    does: substitutions, deletions and insertions are then those of sclite as well as their sum.

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
    # Most utterances of a good system are right: there is nothing to search for in them.
    wrong = [name for name, words in references.items() if list(words) != list(hypotheses[name])]
    chunks = dict(zip(wrong, _chunks(references, hypotheses, wrong), strict=True))
    return {
        name: _most_right(words, hypotheses[name], chunks[name])
        if name in chunks
        else Alignment(tuple(zip(words, words, strict=True)))
        for name, words in references.items()
    }


def _chunks(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]], ids: Sequence[str]
) -> list[list[jiwer.AlignmentChunk]]:
    if not ids:
        return []
    found: list[list[jiwer.AlignmentChunk]] = jiwer.process_words(
        [" ".join(references[name]) for name in ids], [" ".join(hypotheses[name]) for name in ids]
    ).alignments
    return found


def count_errors(
    references: Mapping[str, Sequence[str]], hypotheses: Mapping[str, Sequence[str]]
) -> dict[str, ErrorCounts]:
    """Word errors of every utterance; arguments and errors as of `align_words`."""
    return {name: alignment.counts for name, alignment in align_words(references, hypotheses).items()}


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


def _most_right(
    reference: Sequence[str], hypothesis: Sequence[str], chunks: Iterable[jiwer.AlignmentChunk]
) -> Alignment:
    found = Alignment(tuple(_pairs(reference, hypothesis, chunks)))
    if not found.counts.substitutions:
        return found  # none that could be taken apart
    # sclite's costs (4 for a substitution, 3 for the others) break ties in favour of words right. On very
    # unlike words they also prefer more errors to fewer: then the edit distance stands.
    pairs = kaldialign.align(reference, hypothesis, "", sclite_mode=True)
    other = Alignment(tuple((said or None, recognised or None) for said, recognised in pairs))
    return other if other.counts.errors == found.counts.errors else found


def _pairs(
    reference: Sequence[str], hypothesis: Sequence[str], chunks: Iterable[jiwer.AlignmentChunk]
) -> Iterator[tuple[str | None, str | None]]:
    for chunk in chunks:
        # The shorter side of a chunk is empty: chunks hold one kind of error.
        yield from zip_longest(
            reference[chunk.ref_start_idx : chunk.ref_end_idx],
            hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx],
        )
