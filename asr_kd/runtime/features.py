"""Log-mel filterbanks of a stream of samples.

Everything between samples and spectrum (the frame's mean, preemphasis, window, Fourier transform) is linear:
one matrix, so that a block of frames is one product, without a library beside NumPy. kaldi-native-fbank,
which gives the mel bank, computes frame by frame.
"""

import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.features.fbank import (
    BLOCK_FRAMES,
    ENERGY_FLOOR,
    PREEMPHASIS,
    SAMPLE_SCALE,
    count_frames,
    fft_points,
    frame_samples,
    mel_banks,
    povey_window,
)


class Filterbank:
    """What streams of one kind of features share.

    Attributes:
        settings: how features are made.
        sample_rate: hertz.
        length: samples of a frame.
        shift: from one frame to the next.
    """

    def __init__(self, settings: FeatureConfig, sample_rate: int) -> None:
        self.settings, self.sample_rate = settings, sample_rate
        self.length, self.shift = frame_samples(settings, sample_rate)
        self._transform, self._mel = _matrices(settings, sample_rate, self.length)

    def energies(self, windows: np.ndarray) -> np.ndarray:
        """``(frames, length)`` samples to ``(frames, mel_bins)`` log energies, both float32."""
        energies = np.empty((len(windows), self.settings.mel_bins), np.float32)
        for first in range(0, len(windows), BLOCK_FRAMES):
            block = slice(first, first + BLOCK_FRAMES)
            power = np.square(np.ascontiguousarray(windows[block]) @ self._transform)
            energies[block] = np.log(np.maximum(power @ self._mel, ENERGY_FLOOR))
        return energies


class FeatureStream:
    """The frames of `features.fbank.Fbank` (within 1e-3), as soon as their samples are there."""

    def __init__(self, filterbank: Filterbank) -> None:
        self._bank = filterbank
        # Samples from the first one of the next frame on. The first frame begins before the first sample,
        # with samples mirrored at the edge, as many as `_before`.
        self._before = filterbank.length // 2 - filterbank.shift // 2
        self._samples = np.zeros(0, np.float32)
        self._accepted = self._made = 0

    def accept(self, samples: np.ndarray) -> np.ndarray:
        """Take ``(samples,)`` float32 in [-1, 1]; return the frames now complete ``(frames, mel_bins)``."""
        self._accepted += len(samples)
        self._samples = np.concatenate([self._samples, samples])
        if self._before and self._accepted >= self._before:
            self._mirror_start()
        if self._before:
            return self._take(0)
        return self._take(max((len(self._samples) - self._bank.length) // self._bank.shift + 1, 0))

    def finish(self) -> np.ndarray:
        """The last frames, which reach beyond the end and see samples mirrored there."""
        if self._before and self._accepted:
            self._mirror_start()
        bank = self._bank
        frames = count_frames(self._accepted, bank.settings, bank.sample_rate) - self._made
        if frames <= 0:
            return self._take(0)
        missing = (frames - 1) * bank.shift + bank.length - len(self._samples)
        self._samples = np.pad(self._samples, (0, max(missing, 0)), mode="symmetric")
        return self._take(frames)

    def _mirror_start(self) -> None:
        self._samples = np.pad(self._samples, (self._before, 0), mode="symmetric")
        self._before = 0

    def _take(self, frames: int) -> np.ndarray:
        if not frames:
            return np.zeros((0, self._bank.settings.mel_bins), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._bank.length)
        energies = self._bank.energies(windows[:: self._bank.shift][:frames])
        self._samples = self._samples[frames * self._bank.shift :].copy()
        self._made += frames
        return energies


def _matrices(settings: FeatureConfig, sample_rate: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """From a frame of samples to its spectrum, and from squares of that to mel energies.

    Returns:
        ``(length, 2 * frequencies)`` float32, real parts before imaginary ones, and
        ``(2 * frequencies, mel_bins)`` float32.
    """
    bank, points = mel_banks(settings, sample_rate, settings.mel_bins), fft_points(length)
    centre = np.eye(length) - 1.0 / length
    emphasise = np.eye(length) - PREEMPHASIS * np.eye(length, k=-1)
    emphasise[0, 0] = 1.0 - PREEMPHASIS
    windowed = SAMPLE_SCALE * povey_window(length)[:, None] * (emphasise @ centre)
    angles = -2.0 * np.pi / points * np.outer(np.arange(length), np.arange(points // 2 + 1))
    # Only frequencies that some mel bin listens to.
    heard = np.flatnonzero(bank.any(axis=0))
    transform = windowed.T @ np.concatenate([np.cos(angles)[:, heard], np.sin(angles)[:, heard]], axis=1)
    return transform.astype(np.float32), np.concatenate([bank[:, heard].T] * 2).astype(np.float32)
