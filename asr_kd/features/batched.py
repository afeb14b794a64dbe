"""Filterbanks and MFCCs of many utterances from one spectrum: back end `numpy`, the fastest on a CPU."""

from collections.abc import Sequence

import numpy as np
import scipy.fft

from asr_kd.config import FeatureConfig
from asr_kd.features import fbank
from asr_kd.features.fbank import (
    BLOCK_FRAMES,
    ENERGY_FLOOR,
    PREEMPHASIS,
    SAMPLE_SCALE,
    count_frames,
    fft_points,
    frame_samples,
    povey_window,
)
from asr_kd.features.mfcc import MFCC_MEL_BINS, cepstral_matrix


class BatchedFeatures:
    """Log-mel energies and MFCCs, equal to those of `fbank.Fbank` and `mfcc.Mfcc` within 1e-3.

    Framing, windowing and spectrum follow Kaldi's ``feat/feature-window.cc``. A subclass may compute the
    energies elsewhere.
    """

    def __init__(self, settings: FeatureConfig, sample_rate: int) -> None:
        self.settings, self.sample_rate = settings, sample_rate
        self.length, self.shift = frame_samples(settings, sample_rate)
        self.points = fft_points(self.length)
        self.window = povey_window(self.length).astype(np.float32)
        # (points / 2 + 1, mel bins of both kinds)
        banks = [self.mel_banks(mel_bins) for mel_bins in (settings.mel_bins, MFCC_MEL_BINS)]
        self.mel = np.ascontiguousarray(np.concatenate(banks).T)
        self._cepstral = cepstral_matrix(settings.cepstra)

    def compute(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The features of several utterances, end to end.

        Args:
            waveforms: ``(samples,)`` float32 in [-1, 1] each.

        Returns:
            ``(frames, mel_bins)`` and ``(frames, cepstra)`` float32, the frames of all utterances in turn.
        """
        padded, rows = self._pad(waveforms)
        energies = self.energies(padded)
        energies = np.concatenate([energies[first:last] for first, last in rows])
        bins = self.settings.mel_bins
        return energies[:, :bins], energies[:, bins:] @ self._cepstral

    def mel_banks(self, mel_bins: int) -> np.ndarray:
        """``(mel_bins, points / 2 + 1)`` float32 weights of the power spectrum."""
        return fbank.mel_banks(self.settings, self.sample_rate, mel_bins)

    def energies(self, samples: np.ndarray) -> np.ndarray:
        """``(samples,)`` on the 16-bit scale to ``(frames, mel bins of both kinds)`` float32 log energies."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.length)[:: self.shift]
        energies = np.empty((len(frames), self.mel.shape[1]), np.float32)
        for first in range(0, len(frames), BLOCK_FRAMES):
            block = slice(first, first + BLOCK_FRAMES)
            energies[block] = self._log_mel(frames[block])
        return energies

    def _pad(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """All utterances in one array, mirrored at their edges, and which of its frames are theirs.

        Each starts at a multiple of the shift, so that one strided view holds all frames; the few that lie
        across two utterances belong to none.
        """
        before = self.length // 2 - self.shift // 2
        pieces, rows, start = [np.zeros(0, np.float32)], [(0, 0)], 0
        for waveform in waveforms:
            frames = count_frames(len(waveform), self.settings, self.sample_rate)
            if frames == 0:
                continue
            needed = (frames - 1) * self.shift + self.length
            total = -(-needed // self.shift) * self.shift
            pieces.append(np.pad(waveform, (before, total - before - len(waveform)), mode="symmetric"))
            rows.append((start, start + frames))
            start += total // self.shift
        padded = np.concatenate(pieces) * np.float32(SAMPLE_SCALE)
        # At least one frame, so that an empty batch needs no case of its own.
        return np.pad(padded, (0, max(self.length - len(padded), 0))), rows

    def _log_mel(self, frames: np.ndarray) -> np.ndarray:
        centred = frames - frames.mean(axis=1, keepdims=True)
        windowed = np.zeros((len(frames), self.points), np.float32)
        windowed[:, 0] = centred[:, 0] * np.float32(1.0 - PREEMPHASIS)
        windowed[:, 1 : self.length] = centred[:, 1:] - np.float32(PREEMPHASIS) * centred[:, :-1]
        windowed[:, : self.length] *= self.window
        spectrum = scipy.fft.rfft(windowed)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        log_energies: np.ndarray = np.log(np.maximum(power @ self.mel, np.float32(ENERGY_FLOOR)))
        return log_energies
