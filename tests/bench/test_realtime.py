from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_kd.bench import realtime
from asr_kd.bench.realtime import PHASES, Bench, Sound, load_sounds, measure, run_bench, summarise
from asr_kd.config import FeatureConfig
from asr_kd.corpus.manifest import read_manifest
from asr_kd.decoding.acoustic import load_scorer
from asr_kd.decoding.search import SearchSettings
from asr_kd.decoding.systems import recipe_systems
from asr_kd.features.extract import Extraction, make_backend
from asr_kd.features.normalise import Statistics, normalise
from tests.bench.clock import Clock
from tests.work_folder import MEL_BINS, make_work

NOTHING = Statistics(1, np.zeros(1), np.zeros(1))


class Worker:
    """A recogniser that takes 1, 2 and 3 shares of its pace, and one share that no phase accounts for."""

    def __init__(self, name: str, clock: Clock, pace: float, calls: list[str]) -> None:
        self.name, self.clock, self.pace, self.calls = name, clock, pace, calls

    def __call__(self, sound: Sound) -> tuple[float, float, float]:
        self.calls.append(f"{self.name} {sound.name}")
        self.clock.now += 7 * self.pace
        return self.pace, 2 * self.pace, 3 * self.pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(realtime, "perf_counter", clock)
    return clock


def test_factors_are_wall_time_by_audio_time_with_passes_interleaved(clock: Clock) -> None:
    calls: list[str] = []
    recognisers = {"slow": Worker("slow", clock, 2.0, calls), "fast": Worker("fast", clock, 1.0, calls)}
    # Two utterances of 5 s.
    sounds = [Sound(name, np.zeros(50, np.float32), NOTHING, NOTHING) for name in ("u", "v")]
    factors = measure(recognisers, sounds, sample_rate=10, passes=3)
    for phase, share in zip(PHASES, (1, 2, 3, 7), strict=True):
        assert factors["slow"][phase] == pytest.approx([2.0 * 2 * share / 10] * 3)
        assert factors["fast"][phase] == pytest.approx([1.0 * 2 * share / 10] * 3)
    # The first round warms up.
    assert calls == ["slow u", "slow v", "fast u", "fast v"] * 4


def test_summary_is_median_and_quartiles() -> None:
    assert summarise({"total": [5.0, 1.0, 2.0, 4.0, 3.0]}) == {
        "total": {"median": 3.0, "low": 2.0, "high": 4.0}
    }


@pytest.mark.parametrize("by", ["speaker", "utterance"])
def test_sounds_come_with_what_normalises_them(tmp_path: Path, by: str) -> None:
    make_work(tmp_path)
    utterances = read_manifest(tmp_path / "data" / "test.jsonl")
    extraction = Extraction(FeatureConfig(mel_bins=MEL_BINS, normalise=by), 16000)
    backend = make_backend(extraction)
    sounds = load_sounds(utterances, extraction, backend)
    assert [sound.name for sound in sounds] == [utterance.id for utterance in utterances]
    frames = [normalise(backend.compute([sound.waveform])[0], sound.fbank) for sound in sounds]
    groups = {"utterance": [[one] for one in frames], "speaker": [frames[:4], frames[4:]]}[by]
    for group in groups:
        np.testing.assert_allclose(np.concatenate(group).mean(axis=0), 0.0, atol=1e-3)
        np.testing.assert_allclose(np.concatenate(group).std(axis=0), 1.0, atol=1e-2)


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("torch_threads")
def test_scorers_get_the_threads_that_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_work(tmp_path)
    student = next(system for system in recipe_systems(config, tmp_path) if system.kind == "student")
    given: list[int] = []

    def load(*arguments: Any) -> Any:
        given.append(arguments[3])
        return load_scorer(*arguments)

    monkeypatch.setattr(realtime, "load_scorer", load)
    factors = run_bench(
        Bench(
            ((student, SearchSettings(1.0, 20.0, 100)),),
            tmp_path / "align" / "graph-bigram",
            tmp_path / "align" / "labels",
            Extraction(FeatureConfig(mel_bins=MEL_BINS), 16000),
            tuple(read_manifest(tmp_path / "data" / "test.jsonl")),
            passes=1,
            threads=2,
        )
    )
    assert given == [2]
    assert torch.get_num_threads() == 2
    assert set(factors["student"]) == set(PHASES)
