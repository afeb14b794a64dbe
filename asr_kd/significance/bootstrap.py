"""Bootstrap intervals of error rates, of their differences, and of the gap that a student closes.

A unit is what was sampled independently: an utterance or, where recognition differs more between speakers
than within them, a speaker. Units are drawn with replacement, the same ones for every system, so that what is
computed from several columns of one draw is paired (Bisani and Ney, "Bootstrap estimates for confidence
intervals in ASR performance evaluation", 2004).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK_CELLS = 4_000_000  # of the matrix of draws held at once: 32 MB
# How often a row is drawn costs as much as about so many draws of a unit; of few units either is fast.
_DRAWS_OF_A_UNIT = 3
_FEW_UNITS = 2_000


@dataclass(frozen=True)
class Interval:
    """A point estimate with the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        """Whether 0 lies inside: as a difference it decides nothing."""
        return self.low <= 0 <= self.high


def bootstrap_sums(columns: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """Sums of resampled test sets.

    Units with equal rows are interchangeable: drawing how often each distinct row occurs is the same as
    drawing units, and much less work where there are many units with few words each. Where most rows of many
    units differ, as those of many systems do, drawing units and counting them is faster.

    Args:
        columns: ``(units, columns)`` counts of every unit.
        generator: where the draws come from.
        resamples: how many test sets to draw.

    Returns:
        ``(resamples, columns)`` float64.
    """
    units = len(columns)
    rows, counts = np.unique(columns, axis=0, return_counts=True)
    alike = units <= _FEW_UNITS or len(rows) * _DRAWS_OF_A_UNIT < units
    if not alike:
        rows = columns
    values = rows.astype(np.float64)
    sums = np.empty((resamples, columns.shape[1]))
    step = max(1, _CHUNK_CELLS // len(rows))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        if alike:
            draws = generator.multinomial(units, counts / units, size=size)
        else:
            drawn = generator.integers(units, size=(size, units), dtype=np.int32)
            draws = np.stack([np.bincount(one, minlength=units) for one in drawn])
        # Whole numbers stay exact, and floats are multiplied much faster.
        sums[start : start + size] = draws.astype(np.float64) @ values
    return sums


def bootstrap_rates(
    errors: np.ndarray, words: np.ndarray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> np.ndarray:
    """Error rates of resampled test sets, each total errors by total words.

    Args:
        errors: ``(units, systems)``.
        words: ``(units,)``.
        generator: where the draws come from.
        resamples: how many test sets to draw.

    Returns:
        ``(resamples, systems)`` float64.
    """
    sums = bootstrap_sums(np.column_stack([words, errors]), generator, resamples)
    # A draw without a single word has no rate; it cannot err either.
    rates: np.ndarray = sums[:, 1:] / np.maximum(sums[:, :1], 1)
    return rates


def interval(
    value: float, samples: np.ndarray, units: int | None = None, confidence: float = CONFIDENCE
) -> Interval | None:
    """The percentile interval of bootstrap samples around an estimate.

    The plain percentile interval of few units is too narrow: it lacks the factor n / (n - 1) of an unbiased
    variance and the heavier tails of Student's t. Given `units`, its percentiles are moved outwards by both
    (the expanded percentile interval of Hesterberg, "What teachers should know about the bootstrap", 2015).

    Args:
        value: the estimate.
        samples: ``(resamples,)``.
        units: how many units were resampled; none: the plain interval.
        confidence: of the interval.

    Returns:
        None where there is but one unit: all draws are the same, and would look like certainty.
    """
    tail = (1 - confidence) / 2
    if units is not None:
        if units < 2:
            return None
        tail = float(ndtr(np.sqrt(units / (units - 1)) * stdtrit(units - 1, tail)))
    low, high = np.quantile(samples, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def standard_error(samples: np.ndarray, units: int) -> float:
    """Of an estimate, from its bootstrap `samples` ``(resamples,)`` of so many units, without their bias."""
    return float(np.std(samples) * np.sqrt(units / max(units - 1, 1)))


def probability_of_improvement(differences: np.ndarray) -> float:
    """The share of resampled test sets with fewer errors than the baseline, draws counted half.

    After Bisani and Ney 2004.

    Args:
        differences: ``(resamples,)`` WER of the system minus WER of the baseline.
    """
    return float(np.mean(differences < 0) + np.mean(differences == 0) / 2)


def gap_closed_interval(
    student: np.ndarray,
    single: np.ndarray,
    ensemble: np.ndarray,
    sizes: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """(student - single) / (ensemble - single), with its interval.

    Args:
        student: ``(units,)`` counts that are worse the larger they are (errors, summed cross entropy).
        single: the same of a single network, or of the mean of several.
        ensemble: the same of the ensemble.
        sizes: ``(units,)`` words or frames; units without any are left out.
        generator: where the draws come from.
        resamples: how many test sets to draw.

    Returns:
        None where the ensemble's gain is not itself above 0 in its whole interval: the share of a gain
        that may be nothing can be anything. None as well where there is but one unit.
    """
    columns = np.column_stack([student - single, ensemble - single])[np.asarray(sizes) > 0]
    if not len(columns):
        return None
    sums = bootstrap_sums(columns, generator, resamples)
    gain = interval(float(columns[:, 1].sum()), sums[:, 1], len(columns))
    if gain is None or gain.high >= 0:
        return None
    closed = sums[:, 0] / np.where(sums[:, 1] < 0, sums[:, 1], np.nan)
    value = float(columns[:, 0].sum() / columns[:, 1].sum())
    return interval(value, closed[np.isfinite(closed)], len(columns))
