"""MAPSSWE: the matched pairs sentence-segment word error test.

Gillick and Cox, "Some statistical issues in the comparison of speech recognition algorithms", 1989; Pallett
et al., "Tools for the analysis of benchmark speech recognition tests", 1990; in NIST's SCTK,
``sc_stats -t mapsswe``. Words that both systems get right cut the test into segments whose errors are nearly
independent, although those of neighbouring words are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

# So many words in a row that both systems have right end a segment (NIST's choice).
BUFFER_WORDS = 2


@dataclass(frozen=True)
class MatchedPairs:
    """The outcome of the test.

    Attributes:
        segments: with an error of at least one of the systems.
        mean: of the segments' differences in errors, system minus baseline.
        z: the statistic: mean by its standard error.
        p: two-sided, by the normal distribution.
    """

    segments: int
    mean: float
    z: float
    p: float


def segment_errors(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Cut utterances into segments.

    A segment begins and ends with an error of at least one system and holds no two neighbouring words that
    both systems have right; none goes beyond its utterance.

    Args:
        first: for every utterance its errors ``(2 * words + 1,)``: in the odd places 1 where the reference
            word was not recognised, in the even ones the insertions before, between and after the words.
        second: the same of the other system.

    Returns:
        ``(segments, 2)`` int64: errors of both.
    """
    errors = np.stack([_lay_out(first), _lay_out(second)], axis=1)
    places = np.flatnonzero(errors.any(axis=1))
    if not len(places):
        return np.zeros((0, 2), dtype=np.int64)
    # Odd places are words: so many lie between neighbouring errors, all of them right.
    right_words = places[1:] // 2 - (places[:-1] + 1) // 2
    starts = np.concatenate([[0], np.flatnonzero(right_words >= BUFFER_WORDS) + 1])
    return np.add.reduceat(errors[places], starts, axis=0)


def _lay_out(utterances: Sequence[np.ndarray]) -> np.ndarray:
    """All utterances in a row, after each as many right words as end a segment."""
    gap = np.zeros(2 * BUFFER_WORDS - 1, dtype=np.int64)
    pieces = [piece for errors in utterances for piece in (errors, gap)]
    return np.concatenate(pieces) if pieces else gap


def mapsswe(segments: np.ndarray) -> MatchedPairs:
    """Test whether two systems make equally many errors a segment.

    As in SCTK, Z is 0 where all differences are equal: without spread there is nothing to measure them by.

    Args:
        segments: from `segment_errors`: errors of the system, errors of the baseline.
    """
    differences = segments[:, 0] - segments[:, 1]
    count = len(differences)
    mean = float(differences.mean()) if count else 0.0
    spread = float(differences.std(ddof=1)) if count > 1 else 0.0
    z = mean / (spread / np.sqrt(count)) if spread > 0 else 0.0
    return MatchedPairs(count, mean, float(z), float(2 * ndtr(-abs(z))))
