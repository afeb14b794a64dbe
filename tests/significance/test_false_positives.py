"""The tests themselves: how often do they find a difference between systems that have none?"""

import numpy as np
import pytest

from asr_kd.significance.bootstrap import bootstrap_rates, interval
from asr_kd.significance.matched_pairs import mapsswe, segment_errors
from asr_kd.significance.permutation import sign_flip_p

LEVEL = 0.05
TRIALS = 3000  # the share found has a standard error of 0.4 %
UTTERANCES, WORDS = 300, 10


def equal_systems(random: np.random.Generator) -> np.ndarray:
    """Errors ``(utterances, words, 2)`` of two systems that are equally good on every word."""
    difficulty = random.beta(0.5, 2.5, (UTTERANCES, WORDS, 1))
    return random.random((UTTERANCES, WORDS, 2)) < difficulty


def with_speakers(random: np.random.Generator, speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of ``(speakers, utterances)``; each speaker suits one of the systems, by chance."""
    words = np.full((speakers, 20), WORDS)
    rates = np.clip(0.2 + random.normal(0, 0.05, (speakers, 1, 2)), 0, 1)
    return random.binomial(WORDS, np.broadcast_to(rates, (speakers, 20, 2))), words


def differs(errors: np.ndarray, words: np.ndarray, random: np.random.Generator) -> bool:
    rates = bootstrap_rates(errors, words, random, 500)
    return not interval(0.0, rates[:, 0] - rates[:, 1], len(words)).holds_zero


def test_bootstrap_by_utterance() -> None:
    random = np.random.default_rng(1)
    words = np.full(UTTERANCES, WORDS)
    found = [differs(equal_systems(random).sum(axis=1), words, random) for _ in range(TRIALS)]
    assert np.mean(found) == pytest.approx(LEVEL, abs=0.01)


def test_bootstrap_by_speaker() -> None:
    random = np.random.default_rng(2)
    found = []
    for _ in range(TRIALS):
        errors, words = with_speakers(random, speakers=20)
        found.append(differs(errors.sum(axis=1), words.sum(axis=1), random))
    assert np.mean(found) == pytest.approx(LEVEL, abs=0.01)


def test_resampling_utterances_where_speakers_differ_finds_what_is_not_there() -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        errors, words = with_speakers(random, speakers=20)
        found.append(differs(errors.reshape(-1, 2), words.ravel(), random))
    assert np.mean(found) > 2 * LEVEL


def test_permutation() -> None:
    random = np.random.default_rng(4)
    found = []
    for _ in range(TRIALS):
        errors = equal_systems(random).sum(axis=1)
        found.append(sign_flip_p(errors[:, 0] - errors[:, 1]) < LEVEL)
    assert np.mean(found) == pytest.approx(LEVEL, abs=0.01)


def test_matched_pairs() -> None:
    random = np.random.default_rng(5)
    found = []
    for _ in range(TRIALS):
        slots = np.zeros((UTTERANCES, 2 * WORDS + 1, 2), dtype=np.int64)
        slots[:, 1::2] = equal_systems(random)
        found.append(mapsswe(segment_errors(slots[:, :, 0], slots[:, :, 1])).p < LEVEL)
    assert np.mean(found) == pytest.approx(LEVEL, abs=0.01)
