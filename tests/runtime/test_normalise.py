from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.runtime.normalise import (
    MEMORY_FRAMES,
    PRIOR_FRAMES_OF_MEAN,
    PRIOR_FRAMES_OF_VARIANCE,
    RunningNormaliser,
    TrainingStatistics,
)

RANDOM = np.random.default_rng(5)
DIMS, SENONES = 4, 3
MEANS = RANDOM.standard_normal((SENONES, DIMS))
TRAINING = TrainingStatistics(
    RANDOM.standard_normal(DIMS), RANDOM.uniform(1, 2, DIMS), MEANS, np.square(MEANS) + 0.25
)


def speech(frames: int, shift: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a speaker, and log posteriors that know their senones."""
    senones = RANDOM.integers(SENONES, size=frames)
    normalised = MEANS[senones] + 0.5 * RANDOM.standard_normal((frames, DIMS))
    frames_ = TRAINING.mean + TRAINING.deviation * (shift + scale * normalised)
    return frames_.astype(np.float32), np.log(np.eye(SENONES)[senones] + 1e-9)


def test_nothing_learnt_is_the_training_speakers() -> None:
    frames, _ = speech(10, 1.0, 1.0)
    found = RunningNormaliser(TRAINING).apply(frames)
    np.testing.assert_allclose(found, (frames - TRAINING.mean) / TRAINING.deviation, rtol=1e-5)


def test_the_speakers_shift_is_found_whatever_the_sounds() -> None:
    normaliser = RunningNormaliser(TRAINING)
    for _ in range(10):
        normaliser.learn(*speech(100, 0.8, 1.0))
    # One sound alone: its own mean is far from 0, and must stay there.
    frames = (TRAINING.mean + TRAINING.deviation * (0.8 + MEANS[1])).astype(np.float32)
    np.testing.assert_allclose(normaliser.apply(frames[None])[0], MEANS[1], atol=0.15)


def test_estimates_are_map() -> None:
    frames, log_posteriors = speech(50, 0.5, 1.3)
    normaliser = RunningNormaliser(TRAINING)
    normaliser.learn(frames, log_posteriors)
    standard = (frames - TRAINING.mean) / TRAINING.deviation
    expected, squares = np.zeros(DIMS), np.zeros(DIMS)
    for frame in log_posteriors:
        for senone, value in enumerate(frame):
            expected += np.exp(value) * MEANS[senone]
            squares += np.exp(value) * TRAINING.senone_squares[senone]
    offset = (standard.sum(axis=0) - expected) / (PRIOR_FRAMES_OF_MEAN + 50)
    spread = np.square(standard - offset).sum(axis=0)
    scale = np.sqrt((PRIOR_FRAMES_OF_VARIANCE + spread) / (PRIOR_FRAMES_OF_VARIANCE + squares))
    wanted = (frames - TRAINING.mean - offset * TRAINING.deviation) / (TRAINING.deviation * scale)
    np.testing.assert_allclose(normaliser.apply(frames), wanted, rtol=1e-4, atol=1e-4)


def test_an_older_speaker_is_forgotten() -> None:
    normaliser = RunningNormaliser(TRAINING)
    normaliser.learn(*speech(round(MEMORY_FRAMES), 3.0, 1.0))
    for _ in range(20):
        normaliser.learn(*speech(500, 0.0, 1.0))
    frames, _ = speech(1, 0.0, 1.0)
    plain = (frames - TRAINING.mean) / TRAINING.deviation
    assert np.abs(normaliser.apply(frames) - plain).max() < 0.3


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    TRAINING.save(tmp_path / "statistics.npy")
    found = TrainingStatistics.load(tmp_path / "statistics.npy", SENONES)
    np.testing.assert_allclose(found.senone_squares, TRAINING.senone_squares, rtol=1e-6)
    with pytest.raises(AsrKdError, match="statistics of 4 senones"):
        TrainingStatistics.load(tmp_path / "statistics.npy", 4)
