"""Mean and variance normalisation. Pure functions on arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# A dimension that hardly moves (digital silence, a band the codec cut off) is not blown up to noise.
DEVIATION_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class Statistics:
    """What mean and variance are computed from; the statistics of parts of a speaker can be added up.

    Attributes:
        frames: how many.
        total: ``(dims,)`` float64, the sum over the frames.
        squares: ``(dims,)`` float64, the sum of the squares.
    """

    frames: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Statistics":
        """The statistics of ``(frames, dims)`` features."""
        exact = features.astype(np.float64)
        return cls(len(features), exact.sum(axis=0), np.square(exact).sum(axis=0))

    @classmethod
    def merged(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """The statistics of all parts together; at least one part."""
        known = list(parts)
        return cls(
            sum(part.frames for part in known),
            np.sum([part.total for part in known], axis=0),
            np.sum([part.squares for part in known], axis=0),
        )

    @property
    def mean(self) -> np.ndarray:
        """``(dims,)`` float64."""
        mean: np.ndarray = self.total / max(self.frames, 1)
        return mean

    @property
    def deviation(self) -> np.ndarray:
        """``(dims,)`` float64 standard deviations, floored at `DEVIATION_FLOOR`."""
        variance = self.squares / max(self.frames, 1) - np.square(self.mean)
        deviation: np.ndarray = np.sqrt(np.maximum(variance, DEVIATION_FLOOR**2))
        return deviation


def subtract_mean(features: np.ndarray, statistics: Statistics) -> np.ndarray:
    """``(frames, dims)`` float32 features, shifted to mean 0."""
    shifted: np.ndarray = features - statistics.mean.astype(np.float32)
    return shifted


def normalise(features: np.ndarray, statistics: Statistics) -> np.ndarray:
    """``(frames, dims)`` float32 features, shifted to mean 0 and scaled to variance 1."""
    scaled: np.ndarray = subtract_mean(features, statistics) / statistics.deviation.astype(np.float32)
    return scaled
