from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.hmm.gmm import DiagonalGmms


def random_gmms(seed: int = 0, sizes: tuple[int, ...] = (1, 3, 2, 4), dims: int = 3) -> DiagonalGmms:
    random = np.random.default_rng(seed)
    weights = np.concatenate([random.dirichlet(np.ones(size)) for size in sizes])
    shape = (sum(sizes), dims)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return DiagonalGmms(offsets, weights, random.standard_normal(shape), random.uniform(0.5, 2, shape))


def slow_log_likelihood(gmms: DiagonalGmms, pdf: int, frame: np.ndarray) -> float:
    densities = [
        gmms.weights[g]
        * np.prod(
            np.exp(-((frame - gmms.means[g]) ** 2) / (2 * gmms.variances[g]))
            / np.sqrt(2 * np.pi * gmms.variances[g])
        )
        for g in range(gmms.offsets[pdf], gmms.offsets[pdf + 1])
    ]
    return float(np.log(sum(densities)))


def test_log_likelihoods_equal_the_definition() -> None:
    gmms = random_gmms()
    features = np.random.default_rng(1).standard_normal((300, 3)).astype(np.float32)
    scores = gmms.log_likelihoods(features)
    expected = [[slow_log_likelihood(gmms, pdf, frame) for pdf in range(4)] for frame in features]
    assert scores.shape == (300, 4) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_allclose(gmms.log_likelihoods(features, np.array([1, 3])), scores[:, [1, 3]], atol=1e-5)


def test_files_read_back_and_damage_is_named(tmp_path: Path) -> None:
    gmms = random_gmms()
    gmms.save(tmp_path)
    loaded = DiagonalGmms.load(tmp_path)
    for name in ("offsets", "weights", "means", "variances"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(gmms, name))
    DiagonalGmms(gmms.offsets, gmms.weights[1:], gmms.means, gmms.variances).save(tmp_path)
    with pytest.raises(AsrKdError, match=r"gmm\.npz: its arrays do not fit"):
        DiagonalGmms.load(tmp_path)
    (tmp_path / "gmm.npz").write_bytes(b"not an archive")
    with pytest.raises(AsrKdError, match=r"gmm\.npz cannot be read"):
        DiagonalGmms.load(tmp_path)
