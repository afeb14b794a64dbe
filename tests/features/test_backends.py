"""The back ends, each against kaldi-native-fbank."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_kd.config import FeatureConfig
from asr_kd.features.extract import Extraction, make_backend

BATCHED = ["numpy", "torchaudio"]


def compare(waveforms: list[np.ndarray], name: str, sample_rate: int = 16000, **settings: Any) -> None:
    kaldi = make_backend(Extraction(FeatureConfig(backend="kaldi", **settings), sample_rate))
    other = make_backend(Extraction(FeatureConfig(backend=name, **settings), sample_rate, device="cpu"))
    for expected, computed in zip(kaldi.compute(waveforms), other.compute(waveforms), strict=True):
        assert computed.dtype == np.float32
        np.testing.assert_allclose(computed, expected, atol=1e-3)


def random_waveforms() -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    # From shorter than a frame to several blocks of frames, from a whisper to clipping.
    lengths = [81, 200, 400, 401, 16000, 33333, 100000]
    scales = [1.0, 0.3, 0.1, 0.01, 0.001, 0.2, 0.05]
    return [
        np.clip(generator.standard_normal(length) * scale, -1, 1).astype(np.float32)
        for length, scale in zip(lengths, scales, strict=True)
    ]


@pytest.mark.parametrize("name", BATCHED)
def test_equal_on_random_audio(name: str) -> None:
    compare(random_waveforms(), name)


@pytest.mark.parametrize("name", BATCHED)
def test_equal_at_other_rates_and_frames(name: str) -> None:
    compare(random_waveforms(), name, 8000, mel_bins=23, high_hertz=0.0)
    compare(random_waveforms(), name, 22050, frame_shift_milliseconds=12.5, frame_length_milliseconds=32.0)


@pytest.mark.parametrize("name", BATCHED)
def test_equal_on_tones_and_silence(name: str) -> None:
    seconds = np.arange(16000) / 16000
    # In a quiet room: 100 dB below a pure tone any two float32 spectra differ by more than 1e-3.
    room = np.random.default_rng(6).standard_normal(16000) * 10 / 32768
    tone = 0.1 * np.sin(2 * np.pi * 440 * seconds) + room
    half_silent = np.where(seconds < 0.5, tone, 0).astype(np.float32)
    offset = np.full(16000, 0.5, np.float32)
    compare([half_silent, np.zeros(16000, np.float32), offset], name)


@pytest.mark.parametrize("name", BATCHED)
def test_equal_on_recorded_speech(corpora: Path, name: str) -> None:
    files = sorted((corpora / "an4" / "wav" / "an4test_clstk").glob("*/*.flac"))[::20]
    assert len(files) > 5
    compare([soundfile.read(file, dtype="float32")[0] for file in files], name)


@pytest.mark.parametrize("name", ["kaldi", *BATCHED])
def test_an_utterance_does_not_depend_on_its_neighbours(name: str) -> None:
    backend = make_backend(Extraction(FeatureConfig(backend=name), 16000, device="cpu"))
    waveforms = random_waveforms()
    together = backend.compute(waveforms)
    alone = [backend.compute([waveform]) for waveform in waveforms]
    for kind in (0, 1):
        apart = np.concatenate([one[kind] for one in alone])
        np.testing.assert_allclose(together[kind], apart, atol=1e-4)
