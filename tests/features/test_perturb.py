import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.features.perturb import Perturbation, mask, pink_noise, shift_image, stretch_labels


def tone(hertz: float = 400.0, samples: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16000)).astype(np.float32)


def peak_hertz(waveform: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(waveform))
    return float(spectrum.argmax() * 16000 / len(waveform))


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    changed = Perturbation(speed=speed).apply(tone(), "a")
    assert len(changed) == round(16000 / speed) == Perturbation(speed=speed).samples(16000)
    assert changed.dtype == np.float32
    assert peak_hertz(changed) == pytest.approx(400 * speed, abs=1.5)


def test_noise_has_the_ratio_that_is_asked_for() -> None:
    noisy = Perturbation(noise_decibels=(10.0, 10.0)).apply(tone(), "a")
    noise = noisy - tone()
    assert 10 * np.log10(np.square(tone()).mean() / np.square(noise).mean()) == pytest.approx(10.0, abs=1e-3)
    spectrum = np.square(np.abs(np.fft.rfft(pink_noise(tone(), 0.0, np.random.default_rng(0)))))
    # Pink: as much power from 100 to 200 Hz as from 2,000 to 4,000.
    assert spectrum[100:200].sum() / spectrum[2000:4000].sum() == pytest.approx(1.0, rel=0.3)


def test_volume_stays_within_its_bounds_and_differs_by_utterance() -> None:
    louder = Perturbation(volume_decibels=6.0)
    gains = [20 * np.log10(np.abs(louder.apply(tone(), name)).max() / 0.5) for name in "abcdefgh"]
    assert max(np.abs(gains)) <= 6.01 and len(set(np.round(gains, 3))) == 8


def test_the_same_utterance_and_seed_give_the_same_bytes() -> None:
    wild = Perturbation(1.1, 6.0, (5.0, 15.0), seed=3)
    assert wild.apply(tone(), "a").tobytes() == wild.apply(tone(), "a").tobytes()
    assert wild.apply(tone(), "a").tobytes() != wild.apply(tone(), "b").tobytes()


def test_silence_takes_no_noise() -> None:
    silence = np.zeros(400, np.float32)
    assert (Perturbation(noise_decibels=(0.0, 5.0)).apply(silence, "a") == 0).all()


@pytest.mark.parametrize(
    "settings",
    [{"speed": 0.0}, {"volume_decibels": -1.0}, {"noise_decibels": (5.0,)}, {"noise_decibels": (9, 5)}],
)
def test_settings_without_sense_are_refused(settings: dict) -> None:
    with pytest.raises(AsrKdError, match="views: "):
        Perturbation(**settings)


def test_masks_are_bands_and_stretches_of_zeros() -> None:
    frames = np.ones((100, 40), np.float16)
    masked = mask(frames, np.random.default_rng(2), 1, 8, 1, 10)
    bins, times = (masked == 0).all(0), (masked == 0).all(1)
    assert 0 < bins.sum() <= 8 and np.diff(np.flatnonzero(bins)).max(initial=1) == 1
    assert 0 < times.sum() <= 10 and np.diff(np.flatnonzero(times)).max(initial=1) == 1
    assert (frames == 1).all()
    assert (masked[~times][:, ~bins] == 1).all()
    # Of a short utterance a fifth at most.
    assert (mask(frames[:4], np.random.default_rng(0), 0, 8, 5, 100) == 1).all()


def test_images_are_moved_and_zeros_come_in() -> None:
    image = np.arange(1.0, 17.0).reshape(4, 4)
    seen = set()
    for seed in range(200):
        moved = shift_image(image.ravel(), 1, np.random.default_rng(seed)).reshape(4, 4)
        (down, right) = next(
            (d, r)
            for d in (-1, 0, 1)
            for r in (-1, 0, 1)
            if (np.roll(image, (d, r), (0, 1))[1:3, 1:3] == moved[1:3, 1:3]).all()
        )
        seen.add((down, right))
        assert down != 1 or (moved[0] == 0).all()
        assert right != -1 or (moved[:, -1] == 0).all()
    assert len(seen) == 9
    with pytest.raises(AsrKdError, match="square images"):
        shift_image(np.zeros(40), 1, np.random.default_rng(0))


def test_labels_follow_the_speed() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(stretch_labels(labels, 6), labels)
    np.testing.assert_array_equal(stretch_labels(labels, 3), [0, 1, 2])
    np.testing.assert_array_equal(stretch_labels(labels, 12), np.repeat(labels, 2))
