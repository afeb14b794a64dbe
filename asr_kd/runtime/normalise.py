"""Mean and variance normalisation of a speaker who has not been heard yet.

In training the features of every speaker have mean 0 and variance 1 over all that the speaker said: sentences
enough for all sounds to occur in their usual shares. The first seconds of a stream are mostly silence, and a
short answer has few sounds; their own mean would shift everything. So the mean of what was heard is compared
with what the training speakers' features are on average *for the same sounds*, which the network's own
posteriors tell: only the difference is the speaker's and the channel's. Both estimates lean on the training
speakers until enough has been heard (maximum a posteriori, Gauvain and Lee 1994).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.features.normalise import DEVIATION_FLOOR
from asr_kd.frames import read_array

# What the training speakers count as, in frames: a mean is learnt faster than a variance.
PRIOR_FRAMES_OF_MEAN = 30.0
PRIOR_FRAMES_OF_VARIANCE = 200.0
# Older speech is forgotten, for a long recording may have several speakers: 30 s.
MEMORY_FRAMES = 3000.0
LARGEST_CHANGE = 2.0  # of a standard deviation, either way


@dataclass(frozen=True, eq=False)
class TrainingStatistics:
    """What is known about speakers beforehand.

    Attributes:
        mean: ``(dims,)`` of the features of all training speakers.
        deviation: ``(dims,)``, of each speaker's features about that speaker's own mean.
        senone_means: ``(senones, dims)``, of normalised features, by label.
        senone_squares: ``(senones, dims)``, mean squares of the same.
    """

    mean: np.ndarray
    deviation: np.ndarray
    senone_means: np.ndarray
    senone_squares: np.ndarray

    def save(self, path: Path) -> None:
        """Write one array ``(2 + 2 * senones, dims)`` float32."""
        rows = np.concatenate([[self.mean], [self.deviation], self.senone_means, self.senone_squares])
        np.save(path, rows.astype(np.float32), allow_pickle=False)

    @classmethod
    def load(cls, path: Path, senones: int) -> "TrainingStatistics":
        """Read what `save` wrote.

        Raises:
            AsrKdError: the file has another shape, or values that are not finite or no deviation.
        """
        rows = read_array(path)
        if (
            rows.ndim != 2
            or len(rows) != 2 + 2 * senones
            or not rows.shape[1]
            or not np.isfinite(rows).all()
            or rows[1].min() <= 0
        ):
            raise AsrKdError(f"{path} does not hold the statistics of {senones} senones; make the model anew")
        return cls(rows[0], rows[1], rows[2 : 2 + senones], rows[2 + senones :])


class RunningNormaliser:
    """Normalises with what has been learnt so far."""

    def __init__(self, training: TrainingStatistics) -> None:
        self._training = training
        dims = len(training.mean)
        self._frames = 0.0
        # Sums over the frames heard of: the difference from what the sounds let expect; the squared distance
        # from the speaker's mean; the square that the sounds let expect. In training deviations.
        self._shift, self._spread, self._expected = np.zeros(dims), np.zeros(dims), np.zeros(dims)

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """``(frames, dims)`` float32, shifted and scaled."""
        mean = self._training.mean + self._offset * self._training.deviation
        scaled: np.ndarray = (frames - mean) / (self._training.deviation * self._scale)
        return scaled.astype(np.float32)

    def learn(self, frames: np.ndarray, log_posteriors: np.ndarray) -> None:
        """Learn from ``(frames, dims)`` as heard, and the network's ``(frames, senones)`` of them."""
        self._forget(len(frames))
        posteriors = np.exp(log_posteriors)
        standard = (frames - self._training.mean) / self._training.deviation
        self._frames += len(frames)
        self._shift += (standard - posteriors @ self._training.senone_means).sum(axis=0, dtype=np.float64)
        self._spread += np.square(standard - self._offset).sum(axis=0, dtype=np.float64)
        self._expected += (posteriors @ self._training.senone_squares).sum(axis=0, dtype=np.float64)

    @property
    def _offset(self) -> np.ndarray:
        offset: np.ndarray = self._shift / (PRIOR_FRAMES_OF_MEAN + self._frames)
        return offset

    @property
    def _scale(self) -> np.ndarray:
        prior = PRIOR_FRAMES_OF_VARIANCE
        scale = np.sqrt((prior + self._spread) / (prior + self._expected))
        bounded: np.ndarray = np.clip(scale, 1.0 / LARGEST_CHANGE, LARGEST_CHANGE)
        return np.maximum(bounded, DEVIATION_FLOOR / self._training.deviation)

    def _forget(self, coming: int) -> None:
        kept = max(MEMORY_FRAMES - coming, 0.0)
        if self._frames > kept:
            fade = kept / self._frames
            self._frames *= fade
            self._shift *= fade
            self._spread *= fade
            self._expected *= fade
