from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile

from asr_kd.config import FeatureConfig
from asr_kd.errors import AsrKdError
from asr_kd.features.fbank import Fbank, check_mel_bins, count_frames, fbank_options
from tests.features.reference import slow_fbank


def noise(samples: int, scale: float = 0.05) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(samples) * scale).astype(np.float32)


@pytest.mark.parametrize("samples", [300, 8000, 8079])
def test_equals_a_slow_reference(samples: int) -> None:
    waveform = noise(samples)
    computed = Fbank(FeatureConfig(), 16000).compute(waveform)
    np.testing.assert_allclose(computed, slow_fbank(waveform, 16000, 40, 20, 7600), atol=1e-3)


def test_equals_a_slow_reference_at_eight_kilohertz() -> None:
    waveform = noise(4000)
    computed = Fbank(FeatureConfig(mel_bins=23, high_hertz=3800), 8000).compute(waveform)
    np.testing.assert_allclose(computed, slow_fbank(waveform, 8000, 23, 20, 3800), atol=1e-3)


def test_digital_silence_is_floored_at_zero() -> None:
    frames = Fbank(FeatureConfig(), 16000).compute(np.zeros(3200, np.float32))
    assert frames.shape == (20, 40)
    assert not frames.any()


def test_recorded_speech_lies_above_the_floor(corpora: Path) -> None:
    files = sorted((corpora / "an4" / "wav" / "an4test_clstk").glob("*/*.flac"))[::20]
    fbank = Fbank(FeatureConfig(), 16000)
    assert min(fbank.compute(soundfile.read(file, dtype="float32")[0]).min() for file in files) > 0


@pytest.mark.parametrize("samples", [0, 79, 80, 159, 160, 239, 240, 16000])
def test_counts_the_frames_that_are_computed(samples: int) -> None:
    frames = len(Fbank(FeatureConfig(), 16000).compute(noise(samples)))
    assert count_frames(samples, FeatureConfig(), 16000) == frames


def test_refuses_frames_that_leave_gaps() -> None:
    settings = FeatureConfig(frame_shift_milliseconds=30.0)
    with pytest.raises(AsrKdError, match="frame_shift_milliseconds=30"):
        count_frames(16000, settings, 16000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mel_bins": 0}, "0 mel bins"),
        ({"mel_bins": 2}, "2 mel bins"),
        ({"mel_bins": 500}, "500 mel bins"),
        ({"low_hertz": 9000.0}, r"features\.low_hertz=9000\.0"),
        ({"high_hertz": 8001.0}, r"high_hertz=8001\.0"),
        ({"high_hertz": -8000.0}, "half the sample rate"),
    ],
)
def test_filterbanks_that_do_not_exist_are_refused(settings: dict[str, Any], message: str) -> None:
    config = FeatureConfig(**settings)
    with pytest.raises(AsrKdError, match=message):
        check_mel_bins(config, 16000, config.mel_bins)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_what_is_let_through_can_be_computed(rate: int) -> None:
    for mel_bins in range(3, 200):
        settings = FeatureConfig(mel_bins=mel_bins)
        try:
            check_mel_bins(settings, rate, mel_bins)
        except AsrKdError:
            break
        options = fbank_options(settings, rate, mel_bins)
        banks = kaldi_native_fbank.MelBanks(options.mel_opts, options.frame_opts).get_matrix()
        assert (banks.sum(axis=1) > 0).all()
    assert 60 < mel_bins < 199
