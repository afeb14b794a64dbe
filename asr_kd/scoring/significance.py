"""What a difference in errors is worth: paired bootstrap and an exact sign-flip test.

Pure functions on counts of errors by unit; a unit is what was sampled independently: an utterance or,
where recognition differs more between speakers than within them, a speaker.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK_CELLS = 4_000_000  # of the matrix of draws held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A point estimate with the ends of its interval."""

    value: float
    low: float
    high: float


def bootstrap_rates(
    errors: np.ndarray, words: np.ndarray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> np.ndarray:
    """Error rates of resampled test sets.

    After Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", 2004.
    Units are drawn with replacement, the same ones for every system, so that differences between columns
    are paired.

    Args:
        errors: ``(units, systems)``.
        words: ``(units,)``.
        generator: where the draws come from.
        resamples: how many test sets to draw.

    Returns:
        ``(resamples, systems)`` float64, each total errors by total words.
    """
    units = len(words)
    rates = np.empty((resamples, errors.shape[1]))
    step = max(1, _CHUNK_CELLS // units)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        draws = generator.multinomial(units, np.full(units, 1 / units), size=size)
        # A draw without a single word has no rate; it cannot err either.
        rates[start : start + size] = (draws @ errors) / np.maximum(draws @ words, 1)[:, None]
    return rates


def interval(value: float, samples: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The percentile interval of bootstrap `samples`, ``(resamples,)``, around the estimate `value`."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def rate_intervals(
    errors: np.ndarray, words: np.ndarray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> list[Interval]:
    """Every system's error rate and interval; `errors` ``(units, systems)``, `words` ``(units,)``."""
    rates = bootstrap_rates(errors, words, generator, resamples)
    values = errors.sum(axis=0) / words.sum()
    return [interval(float(value), rates[:, place]) for place, value in enumerate(values)]


def difference_interval(
    errors: np.ndarray,
    baseline: np.ndarray,
    words: np.ndarray,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """A system's error rate minus the baseline's, with the paired interval; all arrays ``(units,)``."""
    rates = bootstrap_rates(np.stack([errors, baseline], axis=1), words, generator, resamples)
    value = (errors.sum() - baseline.sum()) / words.sum()
    return interval(float(value), rates[:, 0] - rates[:, 1])


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p value of the paired permutation test, in which each unit's difference may change its sign.

    The differences are integers, so the distribution of their sum over all ``2**units`` sign patterns is
    computed exactly, one unit after the other, in time proportional to units times the sum of magnitudes.

    Args:
        differences: ``(units,)`` whole numbers, errors of one system minus errors of the other.

    Raises:
        ValueError: the differences are not whole numbers.
    """
    magnitudes = np.abs(np.rint(differences)).astype(np.int64)
    if not np.array_equal(magnitudes, np.abs(differences)):
        raise ValueError("differences must be whole numbers; scale them")
    magnitudes = magnitudes[magnitudes > 0]
    reach = int(magnitudes.sum())
    chances = np.zeros(2 * reach + 1)  # of the sums -reach ... reach
    chances[reach] = 1.0
    for magnitude in magnitudes:
        # The sums seen so far end `magnitude` before either border or earlier: nothing wraps around.
        chances = (np.roll(chances, magnitude) + np.roll(chances, -magnitude)) / 2
    observed = abs(int(np.rint(np.sum(differences))))
    sums = np.abs(np.arange(-reach, reach + 1))
    return float(min(1.0, chances[sums >= observed].sum()))
