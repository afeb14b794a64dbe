"""Back end `torchaudio`: the batched features on a GPU (or, with torch, on a CPU)."""

import numpy as np
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from asr_kd.config import FeatureConfig
from asr_kd.features.batched import BatchedFeatures
from asr_kd.features.fbank import ENERGY_FLOOR, PREEMPHASIS

# Frames transformed at once: what stays in a core's cache, and what keeps a GPU busy in half a gigabyte.
CPU_BLOCK_FRAMES = 512
GPU_BLOCK_FRAMES = 65536


class DeviceFeatures(BatchedFeatures):
    """What `BatchedFeatures` computes, by torch on a device, with the mel banks of torchaudio."""

    def __init__(self, settings: FeatureConfig, sample_rate: int, device: str) -> None:
        super().__init__(settings, sample_rate)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._window = torch.from_numpy(self.window).to(self._device)
        self._mel = torch.from_numpy(self.mel).to(self._device)

    def mel_banks(self, mel_bins: int) -> np.ndarray:
        """``(mel_bins, points / 2 + 1)`` float32 weights of the power spectrum."""
        low, high = self.settings.low_hertz, self.settings.high_hertz
        banks, _ = get_mel_banks(mel_bins, self.points, self.sample_rate, low, high, 100.0, -500.0, 1.0)
        # Kaldi leaves out the Nyquist frequency.
        return torch.nn.functional.pad(banks, (0, 1)).numpy()

    def energies(self, samples: np.ndarray) -> np.ndarray:
        """``(samples,)`` on the 16-bit scale to ``(frames, mel bins of both kinds)`` float32 log energies."""
        frames = torch.from_numpy(samples).to(self._device).unfold(0, self.length, self.shift)
        block = CPU_BLOCK_FRAMES if self._device.type == "cpu" else GPU_BLOCK_FRAMES
        return torch.cat([self._log_mel_on_device(some) for some in frames.split(block)]).cpu().numpy()

    def _log_mel_on_device(self, frames: torch.Tensor) -> torch.Tensor:
        centred = frames - frames.mean(dim=1, keepdim=True)
        windowed = centred.new_zeros(len(frames), self.points)
        windowed[:, 0] = centred[:, 0] * (1.0 - PREEMPHASIS)
        windowed[:, 1 : self.length] = centred[:, 1:] - PREEMPHASIS * centred[:, :-1]
        windowed[:, : self.length] *= self._window
        spectrum = torch.fft.rfft(windowed)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self._mel).clamp(min=ENERGY_FLOOR).log()
