import itertools
import math

import numpy as np
import pytest

from asr_kd.scoring.significance import (
    bootstrap_rates,
    difference_interval,
    interval,
    rate_intervals,
    sign_flip_p,
)


def test_bootstrap_draws_units_whole_and_the_same_for_all_systems() -> None:
    rng = np.random.default_rng(0)
    errors = rng.integers(0, 4, (12, 1))
    words = rng.integers(1, 9, 12)
    both = bootstrap_rates(np.hstack([errors, errors + words[:, None]]), words, np.random.default_rng(1), 500)
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 1.0)


def test_bootstrap_against_a_loop() -> None:
    rng = np.random.default_rng(3)
    errors = rng.integers(0, 4, (20, 2))
    words = rng.integers(1, 9, 20)
    slow = []
    for _ in range(20_000):
        drawn = rng.integers(0, 20, 20)
        slow.append(errors[drawn].sum(axis=0) / words[drawn].sum())
    fast = bootstrap_rates(errors, words, np.random.default_rng(4), 20_000)
    np.testing.assert_allclose(fast.mean(axis=0), np.mean(slow, axis=0), rtol=0.01)
    np.testing.assert_allclose(fast.std(axis=0), np.std(slow, axis=0), rtol=0.04)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, words = np.arange(10).reshape(5, 2), np.full(5, 10)
    whole = bootstrap_rates(errors, words, np.random.default_rng(1), 40)
    monkeypatch.setattr("asr_kd.scoring.significance._CHUNK_CELLS", 15)
    np.testing.assert_array_equal(whole, bootstrap_rates(errors, words, np.random.default_rng(1), 40))


def test_interval_of_single_words_is_the_binomial_one() -> None:
    # Utterances of one word each: the rate is a binomial proportion with a known standard error.
    errors = np.zeros((2000, 1), dtype=np.int64)
    errors[:200] = 1
    found = rate_intervals(errors, np.ones(2000, dtype=np.int64), np.random.default_rng(0))[0]
    half = 1.96 * math.sqrt(0.1 * 0.9 / 2000)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - half, abs=0.001)
    assert found.high == pytest.approx(0.1 + half, abs=0.001)


def test_interval_is_made_of_quantiles() -> None:
    samples = np.arange(101, dtype=np.float64)
    found = interval(50.0, samples, confidence=0.9)
    assert (found.value, found.low, found.high) == pytest.approx((50.0, 5.0, 95.0))


def test_paired_interval_is_narrower_than_the_two_systems() -> None:
    rng = np.random.default_rng(5)
    words = rng.integers(5, 15, 300)
    baseline = rng.binomial(words, 0.3)
    errors = np.maximum(baseline - (rng.random(300) < 0.2), 0)
    difference = difference_interval(errors, baseline, words, np.random.default_rng(0), 2000)
    alone = rate_intervals(errors[:, None], words, np.random.default_rng(0), 2000)[0]
    assert difference.high < 0
    assert difference.value == pytest.approx((errors.sum() - baseline.sum()) / words.sum())
    assert difference.high - difference.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize("seed", range(6))
def test_sign_flip_against_all_patterns(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 5, 9)
    observed = abs(differences.sum())
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=9)]
    assert sign_flip_p(differences) == pytest.approx(np.mean([value >= observed for value in sums]))


def test_sign_flip_closed_forms() -> None:
    assert sign_flip_p(np.zeros(5)) == 1.0
    assert sign_flip_p(np.array([], dtype=np.int64)) == 1.0
    assert sign_flip_p(np.full(10, 7)) == pytest.approx(2 / 2**10)
    assert sign_flip_p(np.array([1, -1, 0])) == 1.0


def test_sign_flip_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        sign_flip_p(np.array([0.5, 1.0]))
