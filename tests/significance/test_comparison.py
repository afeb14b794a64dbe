import numpy as np
import pytest

from asr_kd.significance.comparison import TestSet, compare, rate_intervals
from asr_kd.significance.permutation import sign_flip_p


def make(speakers: int, utterances: int = 120) -> tuple[TestSet, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    words = random.integers(3, 12, utterances)
    names = tuple(f"s{number % speakers:02d}" for number in range(utterances))
    return TestSet(words, names), random.binomial(words, 0.2), random.binomial(words, 0.25)


def test_units_are_summed_by_speaker() -> None:
    test_set = TestSet(np.array([1, 2, 3]), ("bob", "ann", "bob"))
    np.testing.assert_array_equal(test_set.units(test_set.words, "speaker"), [2, 4])
    counts = np.array([[1, 0], [0, 2], [5, 1]])
    np.testing.assert_array_equal(test_set.units(counts, "speaker"), [[0, 2], [6, 1]])
    np.testing.assert_array_equal(test_set.units(counts, "utterance"), counts)


@pytest.mark.parametrize(("speakers", "by"), [(4, "utterance"), (30, "speaker")])
def test_speakers_are_the_units_where_there_are_enough(speakers: int, by: str) -> None:
    test_set, errors, baseline = make(speakers)
    found = compare(test_set, errors, baseline, np.random.default_rng(1))
    assert found.by == by
    assert found.difference == (found.by_speaker if by == "speaker" else found.by_utterance)
    assert found.difference.value == pytest.approx((errors.sum() - baseline.sum()) / test_set.words.sum())
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.p == sign_flip_p(test_set.units(errors - baseline, by))
    assert 0 < found.detectable < 0.1
    assert found.matched_pairs is None


def test_mean_of_two_systems_as_baseline() -> None:
    test_set, errors, baseline = make(4)
    one = compare(test_set, errors, baseline, np.random.default_rng(1))
    # Twice the same baseline: its mean is the baseline itself.
    two = compare(test_set, errors, 2 * baseline, np.random.default_rng(1), baseline_systems=2)
    assert two.difference.value == pytest.approx(one.difference.value)
    assert two.p == pytest.approx(one.p)
    assert two.detectable == pytest.approx(one.detectable, rel=0.05)
    # And the same system twice.
    both = compare(test_set, 2 * errors, baseline, np.random.default_rng(1), systems=2)
    assert both.difference.value == pytest.approx(one.difference.value)
    assert both.p == pytest.approx(one.p)


def test_one_utterance_has_no_statistics() -> None:
    test_set, errors, baseline = make(1, utterances=1)
    assert compare(test_set, errors, baseline, np.random.default_rng(1)) is None


def test_one_speaker_cannot_be_resampled() -> None:
    test_set, errors, baseline = make(1)
    assert compare(test_set, errors, baseline, np.random.default_rng(1)).by_speaker is None


def test_intervals_of_a_rate_by_either_unit() -> None:
    test_set, errors, _ = make(30)
    found = rate_intervals(test_set, errors, np.random.default_rng(1))
    for around in found.values():
        assert around.low < around.value < around.high
    assert found["utterance"].value == pytest.approx(errors.sum() / test_set.words.sum())
    # The mean of two systems that are one.
    assert rate_intervals(test_set, 2 * errors, np.random.default_rng(1), systems=2) == found
    assert rate_intervals(make(1)[0], errors, np.random.default_rng(1))["speaker"] is None
