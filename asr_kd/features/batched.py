"""Filterbanks and MFCCs of many utterances at once, from one spectrum: back end `torchaudio`, CPU or GPU."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from asr_kd.config import FeatureConfig
from asr_kd.features.fbank import ENERGY_FLOOR, PREEMPHASIS, SAMPLE_SCALE, count_frames, frame_samples
from asr_kd.features.mfcc import MFCC_MEL_BINS, cepstral_matrix

# Frames transformed at once: what stays in a core's cache, and what keeps a GPU busy.
CPU_BLOCK_FRAMES = 512
GPU_BLOCK_FRAMES = 65536


class BatchedFeatures:
    """Log-mel energies and MFCCs, equal to those of `fbank.Fbank` and `mfcc.Mfcc` within 1e-3.

    Framing, windowing and spectrum follow Kaldi's ``feat/feature-window.cc``; the mel banks are torchaudio's.
    """

    def __init__(self, settings: FeatureConfig, sample_rate: int, device: str) -> None:
        self.device = torch.device(device)
        self._settings, self._sample_rate = settings, sample_rate
        self._length, self._shift = frame_samples(settings, sample_rate)
        self._points = 1 << (self._length - 1).bit_length()
        angles = 2.0 * torch.pi / (self._length - 1) * torch.arange(self._length, dtype=torch.float64)
        # Kaldi's Povey window: a Hann window to the power of 0.85.
        self._window = ((0.5 - 0.5 * angles.cos()) ** 0.85).float().to(self.device)
        banks = torch.cat([self._banks(settings.mel_bins), self._banks(MFCC_MEL_BINS)])
        # (points / 2 + 1, mel bins of both kinds); Kaldi leaves out the Nyquist frequency.
        self._mel = torch.nn.functional.pad(banks, (0, 1)).T.contiguous().to(self.device)
        self._cepstral = torch.from_numpy(cepstral_matrix(settings.cepstra)).to(self.device)

    def compute(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The features of several utterances, end to end.

        Args:
            waveforms: ``(samples,)`` float32 in [-1, 1] each.

        Returns:
            ``(frames, mel_bins)`` and ``(frames, cepstra)`` float32, frames of all utterances in turn.
        """
        if not waveforms:
            return self._split(torch.empty(0, self._mel.shape[1], device=self.device))
        padded, rows = self._pad(waveforms)
        samples = torch.from_numpy(padded).to(self.device)
        frames = samples.unfold(0, self._length, self._shift)
        energies = torch.cat([self._log_mel(block) for block in self._blocks(frames)])
        return self._split(torch.cat([energies[first:last] for first, last in rows]))

    def _banks(self, mel_bins: int) -> torch.Tensor:
        low, high = self._settings.low_hertz, self._settings.high_hertz
        banks, _ = get_mel_banks(mel_bins, self._points, self._sample_rate, low, high, 100.0, -500.0, 1.0)
        return banks

    def _pad(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """All utterances in one array, mirrored at their edges, and the rows of its frames that are theirs.

        Each starts at a multiple of the shift, so that one strided view holds all frames, and a few more that
        lie across two utterances.
        """
        before = self._length // 2 - self._shift // 2
        pieces, rows, start = [], [], 0
        for waveform in waveforms:
            frames = count_frames(len(waveform), self._settings, self._sample_rate)
            if frames:
                needed = (frames - 1) * self._shift + self._length
                total = -(-needed // self._shift) * self._shift
                after = total - before - len(waveform)
                pieces.append(np.pad(waveform, (before, after), mode="symmetric"))
                rows.append((start, start + frames))
                start += total // self._shift
        padded = np.concatenate(pieces or [np.zeros(self._length, np.float32)]) * np.float32(SAMPLE_SCALE)
        return padded, rows or [(0, 0)]

    def _blocks(self, frames: torch.Tensor) -> Iterator[torch.Tensor]:
        yield from frames.split(CPU_BLOCK_FRAMES if self.device.type == "cpu" else GPU_BLOCK_FRAMES)

    def _log_mel(self, frames: torch.Tensor) -> torch.Tensor:
        """``(frames, length)`` samples to ``(frames, mel bins of both kinds)``."""
        centred = frames - frames.mean(dim=1, keepdim=True)
        windowed = centred.new_zeros(len(frames), self._points)
        windowed[:, 0] = centred[:, 0] * (1.0 - PREEMPHASIS)
        windowed[:, 1 : self._length] = centred[:, 1:] - PREEMPHASIS * centred[:, :-1]
        windowed[:, : self._length] *= self._window
        spectrum = torch.fft.rfft(windowed)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self._mel).clamp(min=ENERGY_FLOOR).log()

    def _split(self, energies: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        bins = self._settings.mel_bins
        return energies[:, :bins].cpu().numpy(), (energies[:, bins:] @ self._cepstral).cpu().numpy()
