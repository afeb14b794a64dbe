"""Time derivatives of cepstra."""

import numpy as np

WINDOW = 2


def add_deltas(cepstra: np.ndarray) -> np.ndarray:
    """Append first and second derivatives, as Kaldi's ``add-deltas`` with its defaults does.

    The first derivative is the regression slope over five frames; the second applies that filter twice.
    Beyond the ends of the utterance its first and last frame are repeated.

    Args:
        cepstra: ``(frames, cepstra)`` of one utterance.

    Returns:
        ``(frames, 3 * cepstra)`` float32.
    """
    steps = np.arange(-WINDOW, WINDOW + 1)
    slope = steps / np.sum(steps**2)
    curvature = np.convolve(slope, slope)
    static = np.asarray(cepstra, dtype=np.float32)
    return np.concatenate([static, _filter(static, slope), _filter(static, curvature)], axis=1)


def _filter(frames: np.ndarray, taps: np.ndarray) -> np.ndarray:
    reach = len(taps) // 2
    padded = np.pad(frames, ((reach, reach), (0, 0)), mode="edge")
    result = np.zeros_like(frames)
    for shift, tap in enumerate(taps.astype(np.float32)):
        result += tap * padded[shift : shift + len(frames)]
    return result
