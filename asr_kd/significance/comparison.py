"""A system against a baseline: all statistics of one pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_kd.significance.bootstrap import (
    Interval,
    bootstrap_rates,
    interval,
    probability_of_improvement,
    standard_error,
)
from asr_kd.significance.matched_pairs import MatchedPairs, mapsswe, segment_errors
from asr_kd.significance.permutation import sign_flip_p
from asr_kd.significance.power import FEW_SPEAKERS, detectable_difference

BY_UTTERANCE, BY_SPEAKER = "utterance", "speaker"


@dataclass(frozen=True, eq=False)
class TestSet:
    """What was said, as far as statistics need it.

    Attributes:
        words: ``(utterances,)`` int64, words of the references.
        speakers: of each utterance.
    """

    __test__ = False  # not one of pytest's

    words: np.ndarray
    speakers: tuple[str, ...]

    @property
    def speaker_count(self) -> int:
        """How many speakers there are."""
        return len(set(self.speakers))

    @property
    def by(self) -> str:
        """The unit that is resampled: speakers, or utterances where there are too few speakers for that."""
        return BY_SPEAKER if self.speaker_count >= FEW_SPEAKERS else BY_UTTERANCE

    def units(self, counts: np.ndarray, by: str) -> np.ndarray:
        """Sum counts ``(utterances, ...)`` by unit: ``(units, ...)``, speakers in sorted order."""
        if by == BY_UTTERANCE:
            return counts
        names, places = np.unique(np.array(self.speakers), return_inverse=True)
        sums = np.zeros((len(names), *counts.shape[1:]), dtype=counts.dtype)
        np.add.at(sums, places, counts)
        return sums


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline.

    Attributes:
        by: what was resampled and flipped.
        difference: WER of the system minus WER of the baseline, with its interval.
        by_utterance: the same with utterances resampled.
        by_speaker: the same with speakers resampled; None where there is but one.
        improvement: the probability that the system is better (Bisani and Ney 2004).
        p: of the sign-flip test, two-sided.
        detectable: the smallest true difference that a test like this finds four times out of five.
        matched_pairs: MAPSSWE; None where one of the two is no single system.
    """

    by: str
    difference: Interval
    by_utterance: Interval
    by_speaker: Interval | None
    improvement: float
    p: float
    detectable: float
    matched_pairs: MatchedPairs | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return not self.difference.holds_zero


def rate_intervals(
    test_set: TestSet, errors: np.ndarray, generator: np.random.Generator, systems: int = 1
) -> dict[str, Interval | None]:
    """The WER of a system with an interval by either unit, which no other system has a part in.

    Args:
        test_set: what was recognised.
        errors: ``(utterances,)`` int64; of several systems their sum.
        generator: where the draws come from; the same one gives the same errors the same interval.
        systems: of how many the rate is the mean.

    Returns:
        By unit; None where there is but one of it.
    """
    value = float(errors.sum() / systems / test_set.words.sum())
    found = {}
    for by in (BY_UTTERANCE, BY_SPEAKER):
        words = test_set.units(test_set.words, by)
        rates = bootstrap_rates(test_set.units(errors[:, None], by), words, generator)[:, 0] / systems
        found[by] = interval(value, rates, len(words))
    return found


def compare(
    test_set: TestSet,
    errors: np.ndarray,
    baseline: np.ndarray,
    generator: np.random.Generator,
    systems: int = 1,
    baseline_systems: int = 1,
    slots: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
) -> Comparison | None:
    """All statistics of a pair.

    Args:
        test_set: what both recognised.
        errors: ``(utterances,)`` int64, of the system; of several their sum.
        baseline: ``(utterances,)`` int64, of the baseline; of several systems their sum.
        generator: where the draws come from.
        systems: of how many the first is the mean.
        baseline_systems: of how many the baseline is the mean.
        slots: errors in their places, of the system and of the baseline, for MAPSSWE.

    Returns:
        None where there is but one utterance: nothing can be resampled, and no sign flipped.
    """
    # Times the number of systems: whole numbers, and the same tests.
    scale = systems * baseline_systems
    scaled = np.stack([errors * baseline_systems, baseline * systems], axis=1)
    value = float((scaled[:, 0].sum() - scaled[:, 1].sum()) / scale / test_set.words.sum())
    found: dict[str, tuple[Interval, np.ndarray]] = {}
    for by in (BY_UTTERANCE, BY_SPEAKER):
        words = test_set.units(test_set.words, by)
        rates = bootstrap_rates(test_set.units(scaled, by), words, generator) / scale
        samples = rates[:, 0] - rates[:, 1]
        if around := interval(value, samples, len(words)):
            found[by] = around, samples
    if BY_UTTERANCE not in found:
        return None
    chosen, samples = found[test_set.by]
    units = test_set.units(scaled, test_set.by)
    return Comparison(
        test_set.by,
        chosen,
        found[BY_UTTERANCE][0],
        found[BY_SPEAKER][0] if BY_SPEAKER in found else None,
        probability_of_improvement(samples),
        sign_flip_p(units[:, 0] - units[:, 1]),
        detectable_difference(standard_error(samples, len(units)), len(units)),
        mapsswe(segment_errors(*slots)) if slots else None,
    )
