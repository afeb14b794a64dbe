"""Mel-frequency cepstra for the alignment models, from kaldi-native-fbank's mel energies."""

import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.features.fbank import Fbank

# As in Kaldi's recipes: 23 mel bins, lifter 22, C0 and not the frame's energy as the first coefficient.
MFCC_MEL_BINS = 23
CEPSTRAL_LIFTER = 22.0


def cepstral_matrix(cepstra: int, mel_bins: int = MFCC_MEL_BINS) -> np.ndarray:
    """``(mel_bins, cepstra)`` float32: the orthonormal DCT-II, its outputs liftered as in Kaldi and HTK.

    Log-mel energies ``(frames, mel_bins)`` times this matrix are MFCCs.
    """
    order = np.arange(cepstra)
    angles = np.pi / mel_bins * (np.arange(mel_bins)[:, None] + 0.5) * order
    transform = np.sqrt(2.0 / mel_bins) * np.cos(angles)
    transform[:, 0] = np.sqrt(1.0 / mel_bins)
    lifter = 1.0 + 0.5 * CEPSTRAL_LIFTER * np.sin(np.pi * order / CEPSTRAL_LIFTER)
    liftered: np.ndarray = (transform * lifter).astype(np.float32)
    return liftered


class Mfcc:
    """MFCCs of whole utterances, as Kaldi's ``compute-mfcc-feats --use-energy=false`` makes them.

    The transform is done here and not by kaldi-native-fbank, because its MFCCs have no choice of energy
    floor (see `fbank.ENERGY_FLOOR`).
    """

    def __init__(self, settings: FeatureConfig, sample_rate: int) -> None:
        self._fbank = Fbank(settings, sample_rate, MFCC_MEL_BINS)
        self._matrix = cepstral_matrix(settings.cepstra)

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """``(samples,)`` float32 in [-1, 1] to ``(frames, cepstra)`` float32."""
        cepstra: np.ndarray = self._fbank.compute(waveform) @ self._matrix
        return cepstra
