import numpy as np

from asr_kd.hmm.splice import REACH, delta_transform, splice


def _cepstra(frames: int = 12) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((frames, 2)).astype(np.float32)


def test_neighbours_stand_side_by_side_and_ends_are_repeated() -> None:
    cepstra = _cepstra(6)
    spliced = splice(cepstra).reshape(6, 2 * REACH + 1, 2)
    for time in range(6):
        for place, shift in enumerate(range(-REACH, REACH + 1)):
            np.testing.assert_array_equal(spliced[time, place], cepstra[min(max(time + shift, 0), 5)])


def test_deltas_equal_the_regression_formula() -> None:
    cepstra = _cepstra()

    def at(time: int) -> np.ndarray:
        return cepstra[min(max(time, 0), 11)]

    def slope(time: int, reach: int = 2) -> np.ndarray:
        return sum(step * at(time + step) for step in range(-reach, reach + 1)) / 10

    deltas = splice(cepstra) @ delta_transform(2).T
    assert deltas.shape == (12, 6) and deltas.dtype == np.float32
    np.testing.assert_allclose(deltas[:, :2], cepstra)
    np.testing.assert_allclose(deltas[:, 2:4], [slope(time) for time in range(12)], atol=1e-6)
    # Away from the edges the second derivative is the derivative of the first.
    second = [sum(step * slope(time + step) for step in range(-2, 3)) / 10 for time in range(4, 8)]
    np.testing.assert_allclose(deltas[4:8, 4:], second, atol=1e-6)
