import numpy as np

from asr_kd.hmm import gmm_training
from asr_kd.hmm.gmm import DiagonalGmms
from tests.hmm.test_gmm import random_gmms, slow_log_likelihood


def _frames(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    return random.standard_normal((count, 3)).astype(np.float32), random.integers(-1, 4, count)


def test_statistics_equal_a_loop_over_frames() -> None:
    gmms = random_gmms()
    features, pdfs = _frames()
    statistics = gmm_training.accumulate(gmms, features, pdfs)
    occupancy, first, second = np.zeros(10), np.zeros((10, 3)), np.zeros((10, 3))
    likelihood = 0.0
    for frame, pdf in zip(features, pdfs, strict=True):
        if pdf < 0:
            continue
        whole = slow_log_likelihood(gmms, pdf, frame)
        likelihood += whole
        for g in range(gmms.offsets[pdf], gmms.offsets[pdf + 1]):
            one = DiagonalGmms(
                np.array([0, 1]), *(x[g : g + 1] for x in (gmms.weights, gmms.means, gmms.variances))
            )
            posterior = np.exp(slow_log_likelihood(one, 0, frame) - whole)
            occupancy[g] += posterior
            first[g] += posterior * frame
            second[g] += posterior * frame**2
    np.testing.assert_allclose(statistics.occupancy, occupancy, atol=1e-3)
    np.testing.assert_allclose(statistics.first, first, atol=1e-3)
    np.testing.assert_allclose(statistics.second, second, atol=1e-3)
    np.testing.assert_allclose(statistics.log_likelihood, likelihood, rtol=1e-5)
    assert statistics.frames == np.sum(pdfs >= 0)


def test_every_update_raises_the_likelihood() -> None:
    random = np.random.default_rng(3)
    pdfs = random.integers(0, 4, 4000)
    features = (3 * random.standard_normal((4, 2, 3))[pdfs, random.integers(0, 2, 4000)]).astype(np.float32)
    features += random.standard_normal((4000, 3)).astype(np.float32)
    gmms = random_gmms(sizes=(2, 2, 2, 2))
    likelihoods = []
    for _ in range(6):
        statistics = gmm_training.accumulate(gmms, features, pdfs)
        likelihoods.append(statistics.log_likelihood)
        gmms = gmm_training.update(gmms, statistics)
        np.testing.assert_allclose(np.add.reduceat(gmms.weights, gmms.offsets[:-1]), 1)
    assert np.all(np.diff(likelihoods) > 0)


def test_unsupported_gaussians_go_but_no_pdf_is_left_empty() -> None:
    gmms = random_gmms(sizes=(3, 2, 1))
    statistics = gmm_training.GmmStatistics.zeros(6, 3)
    statistics.occupancy[:] = [50, 3, 50, 2, 4, 0]
    statistics.first[:] = statistics.occupancy[:, None]
    statistics.second[:] = 3 * statistics.occupancy[:, None]
    updated = gmm_training.update(gmms, statistics)
    assert updated.sizes.tolist() == [2, 1, 1]
    np.testing.assert_allclose(updated.means[:2], 1)
    np.testing.assert_allclose(updated.variances[:2], 2)
    np.testing.assert_array_equal(updated.means[2:], gmms.means[[4, 5]])
    np.testing.assert_allclose(updated.weights, [0.5, 0.5, 1, 1])


def test_targets_follow_occupancy_and_leave_enough_frames() -> None:
    occupancies = np.array([10_000, 1_000, 45, 5, 0])
    targets = gmm_training.split_targets(occupancies, 20)
    assert targets.sum() == 20
    assert targets[0] > targets[1] > targets[2] == 2
    assert targets[3] == targets[4] == 1
    assert gmm_training.split_targets(np.array([45.0]), 100).tolist() == [2]


def test_splitting_keeps_mass_and_mean() -> None:
    gmms = random_gmms()
    halves = gmm_training.split(gmms, np.array([4, 3, 2, 6]), np.random.default_rng(0))
    assert halves.sizes.tolist() == [4, 3, 2, 6]
    for pdf in range(4):
        old, new = (slice(x.offsets[pdf], x.offsets[pdf + 1]) for x in (gmms, halves))
        np.testing.assert_allclose(halves.weights[new].sum(), 1)
        np.testing.assert_allclose(
            halves.weights[new] @ halves.means[new], gmms.weights[old] @ gmms.means[old]
        )
    same = gmm_training.split(gmms, np.ones(4, dtype=int), np.random.default_rng(0))
    np.testing.assert_array_equal(same.means, gmms.means)
