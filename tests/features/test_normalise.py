import numpy as np

from asr_kd.features.normalise import DEVIATION_FLOOR, Statistics, normalise, subtract_mean


def random_features(frames: int = 500) -> np.ndarray:
    generator = np.random.default_rng(6)
    return (generator.standard_normal((frames, 4)) * [1, 2, 3, 0.5] + [10, -5, 0, 3]).astype(np.float32)


def test_mean_and_deviation_are_those_of_numpy() -> None:
    features = random_features()
    statistics = Statistics.of(features)
    np.testing.assert_allclose(statistics.mean, features.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(statistics.deviation, features.std(axis=0, dtype=np.float64), rtol=1e-9)


def test_normalised_features_have_mean_zero_and_variance_one() -> None:
    features = random_features()
    normalised = normalise(features, Statistics.of(features))
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-5)


def test_subtracting_the_mean_keeps_the_variance() -> None:
    features = random_features()
    shifted = subtract_mean(features, Statistics.of(features))
    np.testing.assert_allclose(shifted.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(shifted.std(axis=0), features.std(axis=0), rtol=1e-5)


def test_statistics_of_pieces_add_up() -> None:
    features = random_features()
    merged = Statistics.merged([Statistics.of(features[:123]), Statistics.of(features[123:])])
    whole = Statistics.of(features)
    assert merged.frames == whole.frames
    np.testing.assert_allclose(merged.mean, whole.mean)
    np.testing.assert_allclose(merged.deviation, whole.deviation)


def test_a_constant_dimension_stays_small() -> None:
    features = np.full((10, 1), 7.0, np.float32)
    features[0] += 0.01
    normalised = normalise(features, Statistics.of(features))
    assert np.abs(normalised).max() <= 0.01 / DEVIATION_FLOOR
