from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.config import FeatureConfig
from asr_kd.features.fbank import Fbank
from asr_kd.runtime.features import FeatureStream, Filterbank
from tests.runtime.conftest import noise

SETTINGS = FeatureConfig()


def stream(samples: np.ndarray, portions: list[int], settings: FeatureConfig = SETTINGS) -> np.ndarray:
    features = FeatureStream(Filterbank(settings, 16000))
    pieces = [features.accept(portion) for portion in np.split(samples, np.cumsum(portions))]
    return np.concatenate([*pieces, features.finish()])


@pytest.mark.parametrize("samples", [1, 79, 80, 119, 121, 200, 399, 401, 561, 1000, 16000, 16079, 16080])
def test_equal_to_training_features_at_any_length(samples: int) -> None:
    signal = noise(samples / 16000 + 0.001)[:samples]
    wanted = Fbank(SETTINGS, 16000).compute(signal)
    found = stream(signal, [])
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0.0) < 1e-3


def test_equal_to_training_features_on_speech(corpora: Path) -> None:
    files = sorted((corpora / "an4" / "wav" / "an4test_clstk").glob("*/*.flac"))[::13]
    for file in files:
        signal, _ = soundfile.read(file, dtype="float32")
        assert np.abs(stream(signal, [16000]) - Fbank(SETTINGS, 16000).compute(signal)).max() < 1e-3


@pytest.mark.parametrize("portions", [[1] * 700, [50, 70, 0, 399, 1], [8000], [100] * 30])
def test_portions_change_nothing(portions: list[int]) -> None:
    signal = noise(0.7)
    np.testing.assert_allclose(stream(signal, portions), stream(signal, []), atol=1e-4)


def test_other_frames(corpora: Path) -> None:
    settings = FeatureConfig(mel_bins=23, frame_length_milliseconds=20.0, frame_shift_milliseconds=8.0)
    signal = noise(0.5)
    wanted = Fbank(settings, 16000).compute(signal)
    np.testing.assert_allclose(stream(signal, [100, 900], settings), wanted, atol=1e-3)
