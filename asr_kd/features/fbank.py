"""Log-mel filterbanks by kaldi-native-fbank: back end `kaldi`, for one utterance on a CPU, without torch."""

import kaldi_native_fbank
import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.errors import AsrKdError

# Kaldi computes on 16-bit samples; ours lie in [-1, 1].
SAMPLE_SCALE = 32768.0
# About the rounding noise of 16-bit samples: no frame of AN4 gets there, of LibriSpeech as Opus 0.5 % of the
# values. Kaldi's own floor of 1.2e-7 would make digital silence, and the bands that MP3 and Opus cut off,
# outliers of many deviations.
ENERGY_FLOOR = 1.0
PREEMPHASIS = 0.97
# Frames transformed at once by the back ends that work in blocks: their spectra stay in a core's cache.
BLOCK_FRAMES = 128


def frame_samples(settings: FeatureConfig, sample_rate: int) -> tuple[int, int]:
    """The length of a frame and the shift between frames, in samples (both truncated, as in Kaldi).

    Raises:
        AsrKdError: frames that do not reach the next frame, or a shift of no samples.
    """
    length = int(sample_rate * 0.001 * settings.frame_length_milliseconds)
    shift = int(sample_rate * 0.001 * settings.frame_shift_milliseconds)
    if not 0 < shift <= length:
        raise AsrKdError(
            f"features.frame_shift_milliseconds={settings.frame_shift_milliseconds} must be above 0 and at "
            f"most features.frame_length_milliseconds={settings.frame_length_milliseconds}"
        )
    return length, shift


def fft_points(length: int) -> int:
    """Points of the Fourier transform of frames of so many samples: the next power of two."""
    return 1 << (length - 1).bit_length()


def povey_window(length: int) -> np.ndarray:
    """Kaldi's window, a Hann window to the power of 0.85, ``(length,)`` float64."""
    window: np.ndarray = np.hanning(length) ** 0.85
    return window


def mel_banks(settings: FeatureConfig, sample_rate: int, mel_bins: int) -> np.ndarray:
    """``(mel_bins, points / 2 + 1)`` float32 weights of the power spectrum."""
    options = fbank_options(settings, sample_rate, mel_bins)
    weights: np.ndarray = kaldi_native_fbank.MelBanks(options.mel_opts, options.frame_opts).get_matrix()
    return weights


def count_frames(samples: int, settings: FeatureConfig, sample_rate: int) -> int:
    """The frames of an utterance of so many samples, as in Kaldi with ``snip_edges=False``."""
    _, shift = frame_samples(settings, sample_rate)
    return (samples + shift // 2) // shift


def check_mel_bins(settings: FeatureConfig, sample_rate: int, mel_bins: int) -> None:
    """Refuse a frequency range or a number of mel bins that there are no filterbanks of.

    Raises:
        AsrKdError: the range is not within the spectrum, or a bin lies between two frequencies of it.
    """
    nyquist = sample_rate / 2
    low, high = settings.low_hertz, settings.high_hertz + (nyquist if settings.high_hertz <= 0 else 0.0)
    if not 0 <= low < high <= nyquist:
        raise AsrKdError(
            f"features.low_hertz={settings.low_hertz} and features.high_hertz={settings.high_hertz} give no "
            f"range of frequencies between 0 and {nyquist:g} hertz, half the sample rate"
        )
    length, _ = frame_samples(settings, sample_rate)
    points = fft_points(length)
    spectrum = np.arange(points // 2) * sample_rate / points
    edges = 700 * np.expm1(np.linspace(np.log1p(low / 700), np.log1p(high / 700), max(mel_bins, 0) + 2))
    counts = np.searchsorted(spectrum, edges[2:]) - np.searchsorted(spectrum, edges[:-2], side="right")
    if mel_bins < 3 or not counts.all():
        raise AsrKdError(
            f"{mel_bins} mel bins from {low:g} to {high:g} hertz cannot be made of a spectrum of {points} "
            "points: set features.mel_bins to 3 or more, but so few that each has a frequency of its own"
        )


def fbank_options(
    settings: FeatureConfig, sample_rate: int, mel_bins: int
) -> kaldi_native_fbank.FbankOptions:
    """The settings as kaldi-native-fbank takes them."""
    options = kaldi_native_fbank.FbankOptions()
    options.eps = ENERGY_FLOOR
    options.frame_opts.samp_freq = sample_rate
    options.frame_opts.frame_length_ms = settings.frame_length_milliseconds
    options.frame_opts.frame_shift_ms = settings.frame_shift_milliseconds
    options.frame_opts.preemph_coeff = PREEMPHASIS
    options.frame_opts.window_type = "povey"
    options.frame_opts.remove_dc_offset = True
    options.frame_opts.snip_edges = False
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = mel_bins
    options.mel_opts.low_freq = settings.low_hertz
    options.mel_opts.high_freq = settings.high_hertz
    return options


class Fbank:
    """Log-mel filterbank energies of whole utterances, as Kaldi's ``compute-fbank-feats`` makes them.

    Frames of 25 ms every 10 ms (by default), Povey window, preemphasis 0.97, mean of each frame removed,
    ``snip_edges=False``, no dither, natural logarithm of the power in each mel bin, floored at 0.
    """

    def __init__(self, settings: FeatureConfig, sample_rate: int, mel_bins: int | None = None) -> None:
        self.mel_bins = mel_bins or settings.mel_bins
        self._sample_rate = sample_rate
        self._options = fbank_options(settings, sample_rate, self.mel_bins)

    def compute(self, waveform: np.ndarray) -> np.ndarray:
        """``(samples,)`` float32 in [-1, 1] to ``(frames, mel_bins)`` float32."""
        extractor = kaldi_native_fbank.OnlineFbank(self._options)
        # A list, because the binding takes an array sample by sample, boxing each on the way: half as fast.
        extractor.accept_waveform(self._sample_rate, (waveform * np.float32(SAMPLE_SCALE)).tolist())
        extractor.input_finished()
        frames = np.empty((extractor.num_frames_ready, self.mel_bins), np.float32)
        for frame in range(len(frames)):
            frames[frame] = extractor.get_frame(frame)
        return frames
