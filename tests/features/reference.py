"""Kaldi's filterbanks once more, frame by frame and slowly, in float64."""

import numpy as np


def slow_fbank(waveform: np.ndarray, sample_rate: int, mel_bins: int, low: float, high: float) -> np.ndarray:
    samples = waveform.astype(np.float64) * 32768
    length, shift = sample_rate * 25 // 1000, sample_rate * 10 // 1000
    points = 512 if sample_rate == 16000 else 256
    window = [(0.5 - 0.5 * np.cos(2 * np.pi * i / (length - 1))) ** 0.85 for i in range(length)]
    rows = []
    for frame in range((len(samples) + shift // 2) // shift):
        start = frame * shift + shift // 2 - length // 2
        cut = np.array([samples[_mirrored(start + i, len(samples))] for i in range(length)])
        cut -= cut.mean()
        cut = np.array([cut[i] - 0.97 * cut[max(i - 1, 0)] for i in range(length)]) * window
        power = np.abs(np.fft.fft(cut, points)[: points // 2 + 1]) ** 2
        energies = _weights(sample_rate, points, mel_bins, low, high) @ power
        rows.append(np.log(np.maximum(energies, 1.0)))
    return np.array(rows)


def _mirrored(place: int, length: int) -> int:
    while not 0 <= place < length:
        place = -place - 1 if place < 0 else 2 * length - 1 - place
    return place


def _weights(sample_rate: int, points: int, mel_bins: int, low: float, high: float) -> np.ndarray:
    def mel(hertz: float) -> float:
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(low), mel(high), mel_bins + 2)
    weights = np.zeros((mel_bins, points // 2 + 1))
    for row in range(mel_bins):
        left, centre, right = edges[row : row + 3]
        for point in range(points // 2):
            here = mel(point * sample_rate / points)
            if left < here < right:
                rising, falling = (here - left) / (centre - left), (right - here) / (right - centre)
                weights[row, point] = min(rising, falling)
    return weights
