import numpy as np

from asr_kd.hmm.deltas import add_deltas


def test_equals_the_regression_formula() -> None:
    cepstra = np.random.default_rng(0).standard_normal((12, 2)).astype(np.float32)

    def at(time: int) -> np.ndarray:
        return cepstra[min(max(time, 0), 11)]

    def slope(time: int, reach: int = 2) -> np.ndarray:
        return sum(step * at(time + step) for step in range(-reach, reach + 1)) / 10

    deltas = add_deltas(cepstra)
    assert deltas.shape == (12, 6) and deltas.dtype == np.float32
    np.testing.assert_allclose(deltas[:, :2], cepstra)
    np.testing.assert_allclose(deltas[:, 2:4], [slope(time) for time in range(12)], atol=1e-6)
    # Away from the edges the second derivative is the derivative of the first.
    second = [sum(step * slope(time + step) for step in range(-2, 3)) / 10 for time in range(4, 8)]
    np.testing.assert_allclose(deltas[4:8, 4:], second, atol=1e-6)
