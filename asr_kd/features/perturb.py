"""Perturbed copies: speed, volume and noise on audio, masks on filterbanks.

What is drawn follows from the seed and the utterance's id, so that a copy is the same whenever it is made.
"""

from dataclasses import dataclass

import numpy as np
import soxr

from asr_kd.errors import AsrKdError
from asr_kd.seeding import generator


@dataclass(frozen=True)
class Perturbation:
    """How the audio of a copy differs.

    Attributes:
        speed: faster above 1; tempo and pitch change together, as on a tape.
        volume_decibels: each utterance is louder or softer by up to this.
        noise_decibels: pink noise is added at a signal-to-noise ratio between these two; empty: none.
        seed: of what is drawn.
    """

    speed: float = 1.0
    volume_decibels: float = 0.0
    noise_decibels: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.speed <= 2.0:
            raise AsrKdError(f"views: speed={self.speed} is not between 0.5 and 2")
        if self.volume_decibels < 0:
            raise AsrKdError(f"views: volume_decibels={self.volume_decibels}: give a positive number")
        if self.noise_decibels and (len(self.noise_decibels) != 2 or np.diff(self.noise_decibels)[0] < 0):
            raise AsrKdError(
                f"views: noise_decibels={list(self.noise_decibels)}: give the lowest and the highest ratio"
            )

    def samples(self, samples: int) -> int:
        """How many samples become of `samples`."""
        return round(samples / self.speed)

    def apply(self, waveform: np.ndarray, utterance_id: str) -> np.ndarray:
        """Perturb one utterance, ``(samples,)`` float32."""
        random = generator(self.seed, "perturbation", utterance_id)
        wanted = self.samples(len(waveform))
        if self.speed != 1.0:
            # Only the ratio of the two rates matters.
            waveform = soxr.resample(waveform, self.speed, 1.0)[:wanted]
            waveform = np.pad(waveform, (0, wanted - len(waveform)))
        if self.noise_decibels:
            low, high = self.noise_decibels
            waveform = waveform + pink_noise(waveform, random.uniform(low, high), random)
        decibels = random.uniform(-self.volume_decibels, self.volume_decibels)
        return (waveform * 10 ** (decibels / 20)).astype(np.float32)


def pink_noise(waveform: np.ndarray, decibels: float, random: np.random.Generator) -> np.ndarray:
    """Noise whose power falls as 1 / frequency, `decibels` below the waveform's mean; both ``(samples,)``."""
    spectrum = np.fft.rfft(random.standard_normal(len(waveform)))
    spectrum /= np.sqrt(np.arange(len(spectrum)).clip(1))
    noise = np.fft.irfft(spectrum, len(waveform))
    power = np.square(noise).mean() or 1.0
    noise *= np.sqrt(np.square(waveform).mean() / power / 10 ** (decibels / 10))
    return noise


def mask(
    frames: np.ndarray,
    random: np.random.Generator,
    frequency_masks: int,
    frequency_width: int,
    time_masks: int,
    time_width: int,
) -> np.ndarray:
    """SpecAugment without warping (Park et al. 2019).

    Args:
        frames: normalised filterbanks ``(frames, mel_bins)`` of one utterance; masked to 0, their mean.
        random: where widths and places come from.
        frequency_masks: how many bands of mel bins are masked.
        frequency_width: of a band at most.
        time_masks: how many stretches of frames are masked.
        time_width: of a stretch at most; also at most a fifth of the utterance.
    """
    masked = frames.copy()
    for _ in range(frequency_masks):
        masked[:, _stretch(random, frames.shape[1], frequency_width)] = 0
    for _ in range(time_masks):
        masked[_stretch(random, len(frames), min(time_width, len(frames) // 5))] = 0
    return masked


def shift_image(row: np.ndarray, pixels: int, random: np.random.Generator) -> np.ndarray:
    """A square image ``(height * width,)`` moved by up to `pixels` both ways; what comes in is 0."""
    side = round(len(row) ** 0.5)
    if side * side != len(row):
        raise AsrKdError(f"views: shift_pixels is for square images, not for frames of {len(row)} features")
    down, right = random.integers(-pixels, pixels + 1, size=2)
    padded = np.pad(row.reshape(side, side), pixels)
    return padded[pixels - down : pixels - down + side, pixels - right : pixels - right + side].ravel()


def _stretch(random: np.random.Generator, length: int, width: int) -> slice:
    chosen = int(random.integers(0, min(width, length) + 1))
    start = int(random.integers(0, length - chosen + 1))
    return slice(start, start + chosen)


def stretch_labels(labels: np.ndarray, frames: int) -> np.ndarray:
    """Labels of an utterance whose speed has changed: of each of its `frames`, the original one's there.

    Args:
        labels: ``(original frames,)``.
        frames: of the copy.
    """
    place = (np.arange(frames) + 0.5) * (len(labels) / frames)
    stretched: np.ndarray = labels[np.minimum(place.astype(np.int64), len(labels) - 1)]
    return stretched
