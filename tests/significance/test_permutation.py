import itertools

import numpy as np
import pytest
from scipy import stats

from asr_kd.significance.permutation import sign_flip_p

# Darwin's pairs of crossed and self-fertilised maize, in eighths of an inch: the worked example of Fisher,
# "The design of experiments", 1935, section 21.
DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])


def test_published_example() -> None:
    p = sign_flip_p(DARWIN)
    assert round(p * 2**15) == 2 * 863
    assert round(100 * p, 3) == 5.267


@pytest.mark.parametrize("seed", range(6))
def test_against_all_patterns(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 5, 9)
    observed = abs(differences.sum())
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=9)]
    assert sign_flip_p(differences) == pytest.approx(np.mean([value >= observed for value in sums]))


def test_agrees_with_scipy() -> None:
    differences = np.random.default_rng(11).integers(-3, 5, 14)
    other = stats.permutation_test(
        (differences, np.zeros(14)),
        lambda a, b: np.sum(a - b),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert sign_flip_p(differences) == pytest.approx(other.pvalue, abs=1e-12)


def test_closed_forms() -> None:
    assert sign_flip_p(np.zeros(5)) == 1.0
    assert sign_flip_p(np.array([], dtype=np.int64)) == 1.0
    assert sign_flip_p(np.full(10, 7)) == pytest.approx(2 / 2**10)
    assert sign_flip_p(np.full(200, 1)) == pytest.approx(2.0**-199)
    assert sign_flip_p(np.array([1, -1, 0])) == 1.0


def test_refuses_fractions() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        sign_flip_p(np.array([0.5, 1.0]))
