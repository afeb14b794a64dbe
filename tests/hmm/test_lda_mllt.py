import numpy as np
import pytest

from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.lda_mllt import LdaStatistics, MlltStatistics, estimate_lda, estimate_mllt
from tests.hmm.test_gmm import random_gmms


def _classes(number: int = 4, frames: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Classes whose means differ in two of five dimensions, behind a mixing of all."""
    random = np.random.default_rng(0)
    classes = random.integers(0, number, frames)
    means = np.zeros((number, 5))
    means[:, :2] = 3 * random.standard_normal((number, 2))
    mixing = random.standard_normal((5, 5))
    return ((means[classes] + random.standard_normal((frames, 5))) @ mixing.T).astype(np.float32), classes


def _statistics(features: np.ndarray, classes: np.ndarray, number: int) -> LdaStatistics:
    """Accumulated in two pieces, and with one class that never occurs."""
    total = LdaStatistics.of(features[:100], classes[:100], number + 1)
    total.add(LdaStatistics.of(features[100:], classes[100:], number + 1))
    return total


def test_two_classes_give_fishers_direction() -> None:
    features, classes = _classes(number=2)
    (row,) = estimate_lda(_statistics(features, classes, 2), dims=5)
    groups = [features[classes == place].astype(np.float64) for place in range(2)]
    within = sum(len(group) * np.cov(group.T, bias=True) for group in groups) / len(features)
    fisher = np.linalg.solve(within, groups[1].mean(axis=0) - groups[0].mean(axis=0))
    cosine = row @ fisher / np.linalg.norm(row) / np.linalg.norm(fisher)
    assert abs(cosine) == pytest.approx(1, abs=1e-6)


def test_projection_whitens_within_classes_and_orders_what_lies_between() -> None:
    features, classes = _classes()
    projected = features @ estimate_lda(_statistics(features, classes, 4), dims=3).T
    assert projected.shape[1] == 3
    means = np.stack([projected[classes == place].mean(axis=0) for place in range(4)])
    np.testing.assert_allclose(np.cov((projected - means[classes]).T, bias=True), np.eye(3), atol=5e-3)
    between = means[classes].var(axis=0)
    assert between[0] > between[1] > 0.1 > 0.01 > between[2]


def test_no_more_directions_than_classes_can_span() -> None:
    features, classes = _classes(number=3)
    assert estimate_lda(_statistics(features, classes, 3), dims=5).shape == (2, 5)


def test_mllt_statistics_equal_a_loop_over_frames() -> None:
    gmms = random_gmms()
    random = np.random.default_rng(1)
    features, pdfs = random.standard_normal((50, 3)).astype(np.float32), random.integers(-1, 4, 50)
    expected = np.zeros((3, 3, 3))
    for frame, pdf in zip(features, pdfs, strict=True):
        if pdf < 0:
            continue
        own = slice(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        scores = gmms.component_log_likelihoods(frame[None], own)[:, 0].astype(np.float64)
        posteriors = np.exp(scores - np.logaddexp.reduce(scores))
        for posterior, mean, variance in zip(posteriors, gmms.means[own], gmms.variances[own], strict=True):
            outer = np.outer(frame - mean, frame - mean)
            expected += posterior * outer / variance[:, None, None]
    statistics = MlltStatistics.of(gmms, features, pdfs)
    np.testing.assert_allclose(statistics.scatter, expected, rtol=1e-4, atol=1e-4)
    assert statistics.frames == np.sum(pdfs >= 0)


def _log_likelihood(transform: np.ndarray, frames: np.ndarray) -> float:
    """A frame, under one diagonal Gaussian fitted in the transformed space, back in the old one."""
    variances = (frames @ transform.T).var(axis=0)
    return float(np.linalg.slogdet(transform)[1] - 0.5 * np.log(variances).sum())


def test_mllt_finds_the_turn_that_makes_covariances_diagonal() -> None:
    random = np.random.default_rng(3)
    turn = np.linalg.qr(random.standard_normal((4, 4)))[0]
    pdfs = random.integers(0, 3, 30_000)
    # Three pdfs with the same axes, of other lengths on each.
    lengths = np.exp(random.uniform(-1.5, 1.5, (3, 4)))
    frames = ((random.standard_normal((30_000, 4)) * lengths[pdfs]) @ turn.T).astype(np.float32)
    transform = np.eye(4)
    for _ in range(20):
        seen = frames @ transform.T.astype(np.float32)
        groups = [seen[pdfs == pdf].astype(np.float64) for pdf in range(3)]
        gmms = DiagonalGmms.single(
            np.stack([group.mean(axis=0) for group in groups]),
            np.stack([group.var(axis=0) for group in groups]),
        )
        before = sum(len(group) * _log_likelihood(np.eye(4), group) for group in groups)
        update = estimate_mllt(MlltStatistics.of(gmms, seen, pdfs))
        assert sum(len(group) * _log_likelihood(update, group) for group in groups) >= before - 1e-3
        transform = update @ transform
    for pdf in range(3):
        correlation = np.corrcoef((frames[pdfs == pdf] @ transform.T).T)
        np.testing.assert_allclose(correlation, np.eye(4), atol=0.03)


def test_mllt_leaves_what_is_diagonal_already() -> None:
    random = np.random.default_rng(4)
    frames = (random.standard_normal((50_000, 3)) * [1, 2, 0.5]).astype(np.float32)
    gmms = DiagonalGmms.single(frames.mean(axis=0)[None], frames.var(axis=0)[None])
    update = estimate_mllt(MlltStatistics.of(gmms, frames, np.zeros(50_000, dtype=int)))
    np.testing.assert_allclose(update, np.eye(3), atol=0.03)
