import itertools
import math

import kaldialign
import numpy as np
import pytest
from scipy import stats

from asr_kd.significance.bootstrap import (
    bootstrap_rates,
    bootstrap_sums,
    gap_closed_interval,
    interval,
    probability_of_improvement,
    standard_error,
)

# Efron and Tibshirani, "An introduction to the bootstrap", 1993, table 10.1: eight subjects' hormone levels.
PLACEBO = np.array([9243, 9671, 11792, 13357, 9055, 6290, 12412, 18806])
OLD_PATCH = np.array([17649, 12013, 19979, 21816, 13850, 9806, 17208, 29044])
NEW_PATCH = np.array([16449, 14614, 17274, 23798, 12560, 10157, 16570, 26325])


def test_published_ratio_of_sums() -> None:
    """A ratio of two sums over the same units is what a WER is; section 10.3 of the book."""
    gains, sizes = NEW_PATCH - OLD_PATCH, OLD_PATCH - PLACEBO
    value = gains.sum() / sizes.sum()
    assert round(value, 4) == -0.0713
    rates = bootstrap_rates(gains[:, None], sizes, np.random.default_rng(0), 200_000)[:, 0]
    assert rates.mean() - value == pytest.approx(0.008, abs=0.0005)  # the book's improved estimate of bias
    # The book's standard error is from 400 draws: 0.105, with a standard error of its own of 3.5 %.
    assert rates.std() == pytest.approx(0.105, rel=0.07)


def test_against_every_possible_draw() -> None:
    errors, words = np.array([3, 0, 1, 5, 2]), np.array([7, 4, 9, 8, 5])
    every = np.array(list(itertools.product(range(5), repeat=5)))
    exact = errors[every].sum(axis=1) / words[every].sum(axis=1)
    rates = bootstrap_rates(errors[:, None], words, np.random.default_rng(1), 100_000)[:, 0]
    for level in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert np.quantile(rates, level) == pytest.approx(np.quantile(exact, level), abs=0.004)


def test_agrees_with_scipy_and_kaldialign() -> None:
    random = np.random.default_rng(3)
    words = random.integers(4, 12, 200)
    errors = random.binomial(words, 0.2)
    rates = bootstrap_rates(errors[:, None], words, np.random.default_rng(4), 20_000)[:, 0]
    own = interval(errors.sum() / words.sum(), rates)

    def rate(errors: np.ndarray, words: np.ndarray, axis: int) -> np.ndarray:
        return errors.sum(axis=axis) / words.sum(axis=axis)

    other = stats.bootstrap(
        (errors, words), rate, paired=True, method="percentile", n_resamples=20_000, rng=5
    ).confidence_interval
    assert (own.low, own.high) == pytest.approx((other.low, other.high), abs=0.001)
    # Kaldi's compute-wer-bootci: mean and 1.96 standard deviations of resampled rates.
    references = [["a"] * count for count in words]
    hypotheses = [["b"] * wrong + ["a"] * (count - wrong) for count, wrong in zip(words, errors, strict=True)]
    kaldi = kaldialign.bootstrap_wer_ci(references, hypotheses, replications=20_000, seed=6)
    assert rates.mean() == pytest.approx(kaldi["wer"], abs=0.001)
    assert 1.96 * rates.std() == pytest.approx(kaldi["ci95"], abs=0.001)


def test_draws_units_whole_and_the_same_for_all_systems() -> None:
    random = np.random.default_rng(0)
    errors = random.integers(0, 4, (12, 1))
    words = random.integers(1, 9, 12)
    both = bootstrap_rates(np.hstack([errors, errors + words[:, None]]), words, np.random.default_rng(1), 500)
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 1.0)


@pytest.mark.parametrize("few", [0, 100])
def test_chunks_change_nothing(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr_kd.significance.bootstrap._FEW_UNITS", few)
    errors, words = np.arange(10).reshape(5, 2), np.full(5, 10)
    whole = bootstrap_rates(errors, words, np.random.default_rng(1), 40)
    monkeypatch.setattr("asr_kd.significance.bootstrap._CHUNK_CELLS", 15)
    np.testing.assert_array_equal(whole, bootstrap_rates(errors, words, np.random.default_rng(1), 40))


def test_equal_units_are_drawn_together_with_the_same_distribution() -> None:
    columns = np.repeat(np.array([[0], [1]]), [900, 100], axis=0)
    sums = bootstrap_sums(columns, np.random.default_rng(2), 20_000)[:, 0]
    assert sums.mean() == pytest.approx(100, rel=0.01)
    assert sums.std() == pytest.approx(math.sqrt(1000 * 0.1 * 0.9), rel=0.03)


def test_units_that_all_differ_are_drawn_with_the_same_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.random.default_rng(3).normal(2, 1, (300, 2))
    alike = bootstrap_sums(columns, np.random.default_rng(2), 20_000)
    monkeypatch.setattr("asr_kd.significance.bootstrap._FEW_UNITS", 0)
    counted = bootstrap_sums(columns, np.random.default_rng(2), 20_000)
    assert not np.array_equal(alike, counted)
    np.testing.assert_allclose(counted.mean(axis=0), columns.sum(axis=0), rtol=0.001)
    np.testing.assert_allclose(np.cov(counted.T), 300 * np.cov(columns.T, bias=True), rtol=0.05, atol=5)


def test_interval_is_made_of_quantiles() -> None:
    samples = np.arange(101, dtype=np.float64)
    found = interval(50.0, samples, confidence=0.9)
    assert (found.value, found.low, found.high) == pytest.approx((50.0, 5.0, 95.0))


@pytest.mark.parametrize("units", [5, 20, 100])
def test_interval_of_few_units_is_the_one_of_student(units: int) -> None:
    values = np.random.default_rng(7).normal(size=units)
    samples = np.random.default_rng(8).normal(values.mean(), values.std() / math.sqrt(units), 400_000)
    found = interval(values.mean(), samples, units)
    expected = stats.t.interval(0.95, units - 1, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)


def test_one_unit_is_no_certainty() -> None:
    assert interval(0.5, np.full(100, 0.5), units=1) is None
    one = np.array([30])
    assert gap_closed_interval(one, one + 10, one - 10, one, np.random.default_rng(0)) is None
    # Units without frames are none.
    two = np.array([30, 0])
    assert gap_closed_interval(two, two + 10, two - 10, two, np.random.default_rng(0)) is None


def test_paired_interval_is_narrower_than_the_two_systems() -> None:
    random = np.random.default_rng(5)
    words = random.integers(5, 15, 300)
    baseline = random.binomial(words, 0.3)
    errors = np.maximum(baseline - (random.random(300) < 0.2), 0)
    rates = bootstrap_rates(np.stack([errors, baseline], axis=1), words, np.random.default_rng(0), 2000)
    difference = interval(0.0, rates[:, 0] - rates[:, 1])
    alone = interval(0.0, rates[:, 0])
    assert difference.high < 0
    assert difference.high - difference.low < (alone.high - alone.low) / 2
    assert probability_of_improvement(rates[:, 0] - rates[:, 1]) == 1.0


def test_probability_of_improvement_counts_draws_half() -> None:
    assert probability_of_improvement(np.array([-1.0, 0.0, 0.0, 2.0])) == 0.5


def test_standard_error_has_no_bias() -> None:
    values = np.array([1.0, 5.0, 2.0, 8.0])
    sums = bootstrap_sums(values[:, None], np.random.default_rng(0), 100_000)[:, 0]
    assert standard_error(sums / 4, 4) == pytest.approx(stats.sem(values), rel=0.02)


def test_gap_closed_has_an_interval_only_where_there_is_a_gap() -> None:
    random = np.random.default_rng(0)
    sizes = np.full(200, 50)
    single = random.poisson(10, 200)
    ensemble, student = single - 2 + random.integers(-1, 2, 200), single - 1 + random.integers(-1, 2, 200)
    found = gap_closed_interval(student, single, ensemble, sizes, np.random.default_rng(1), 2000)
    assert found is not None
    assert found.value == pytest.approx((student - single).sum() / (ensemble - single).sum())
    assert found.low < found.value < found.high < 0.7
    no_gain = single + random.integers(-1, 2, 200)
    assert gap_closed_interval(student, single, no_gain, sizes, np.random.default_rng(1), 2000) is None
