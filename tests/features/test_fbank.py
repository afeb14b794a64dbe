from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.config import FeatureConfig
from asr_kd.errors import AsrKdError
from asr_kd.features.fbank import Fbank, count_frames
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
