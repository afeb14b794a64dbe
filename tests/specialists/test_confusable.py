import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.specialists.confusable import (
    Moments,
    cluster,
    correlation,
    distinct_sets,
    make_sets,
    prepare_columns,
)

GROUPS = [[0, 3, 6], [1, 4], [2, 5, 7, 8]]
SENONES = 9


def confused(frames: int = 4000, seed: int = 0) -> np.ndarray:
    """Posteriors that waver within groups of senones, some of which are rare."""
    random = np.random.default_rng(seed)
    scores = random.normal(scale=0.5, size=(frames, SENONES))
    group = random.choice(len(GROUPS), size=frames, p=[0.8, 0.05, 0.15])
    for number, members in enumerate(GROUPS):
        scores[np.ix_(group == number, members)] += 5.0
    p = np.exp(scores)
    return p / p.sum(1, keepdims=True)


def covariance(posteriors: np.ndarray) -> np.ndarray:
    moments = Moments(SENONES)
    for piece in np.array_split(posteriors, 7):
        moments.add(piece)
    return moments.covariance()


def test_streamed_covariance_is_that_of_all_frames_at_once() -> None:
    p = confused(500)
    np.testing.assert_allclose(covariance(p), np.cov(p.T, bias=True), atol=1e-12)
    halves = [Moments(SENONES) for _ in range(2)]
    for half, piece in zip(halves, (p[:100], p[100:]), strict=True):
        half.add(piece.astype(np.float32))
    halves[0].merge(halves[1])
    assert halves[0].frames == 500
    np.testing.assert_allclose(halves[0].covariance(), covariance(p), atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_senones_that_are_confused_come_together_frequent_or_rare(seed: int) -> None:
    rows = prepare_columns(covariance(confused()), "correlation")
    found = make_sets(rows, 3, 0, seed, np.ones(SENONES))
    assert sorted(found) == sorted(GROUPS)
    assert found == make_sets(rows, 3, 0, seed, np.ones(SENONES))


def test_sets_of_a_size_are_the_nearest_senones_and_may_overlap() -> None:
    rows = prepare_columns(covariance(confused()), "correlation")
    found = make_sets(rows, 3, 4, 0, np.arange(1.0, 10.0))
    assert {len(one) for one in found} == {4}
    assert all(any(set(group) <= set(one) for one in found) for group in GROUPS)


def test_no_cluster_stays_empty_even_of_equal_rows() -> None:
    rows = np.repeat(np.eye(3), 4, axis=0)
    centres, owner = cluster(rows, 6, 1)
    assert centres.shape == (6, 3) and set(owner) == set(range(6))
    _, alone = cluster(np.zeros((4, 2)), 4, 0)
    assert sorted(alone) == [0, 1, 2, 3]


def test_equal_sets_and_sets_without_frames_are_left_out() -> None:
    frames = np.array([5, 1, 9, 0])
    assert distinct_sets([[0, 1], [3], [2], [0, 1]], frames) == [[2], [0, 1]]
    assert distinct_sets([[0, 1, 2], [0, 1]], frames) == [[0, 1]]  # where every frame is of the set as well
    rows = prepare_columns(covariance(confused()), "correlation")
    assert 0 < len(make_sets(rows, SENONES, 8, 0, np.ones(SENONES))) < SENONES


def test_correlation_scales_the_covariance() -> None:
    p = confused(500)
    np.testing.assert_allclose(correlation(covariance(p)), np.corrcoef(p.T), atol=1e-9)
    constant = np.zeros((2, 2))
    assert np.array_equal(correlation(constant), constant)
    assert np.array_equal(prepare_columns(covariance(p), "covariance"), covariance(p))


@pytest.mark.parametrize(("count", "size"), [(0, 2), (10, 2), (3, 9), (3, -1)])
def test_sets_without_sense_are_refused(count: int, size: int) -> None:
    with pytest.raises(AsrKdError, match=r"train\.specialists"):
        make_sets(np.eye(SENONES), count, size, 0, np.ones(SENONES))
    with pytest.raises(AsrKdError, match="nothing to tell apart"):
        make_sets(np.eye(SENONES), 1, 0, 0, np.ones(SENONES))
    with pytest.raises(AsrKdError, match="columns='rows'"):
        prepare_columns(np.eye(2), "rows")
