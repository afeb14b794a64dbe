"""Cepstra of neighbouring frames side by side, and time derivatives as a linear transform of them."""

import numpy as np

# Frames to both sides: as far as second derivatives look, and as Kaldi's recipes splice for LDA (there: 3).
REACH = 4
# Of the regression that gives a first derivative.
DELTA_WINDOW = 2


def splice(cepstra: np.ndarray) -> np.ndarray:
    """Every frame with its neighbours, earliest first.

    Beyond the ends of the utterance its first and last frame are repeated.

    Args:
        cepstra: ``(frames, cepstra)`` of one utterance.

    Returns:
        ``(frames, (2 * REACH + 1) * cepstra)`` float32.
    """
    padded = np.pad(np.asarray(cepstra, dtype=np.float32), ((REACH, REACH), (0, 0)), mode="edge")
    shifted = [padded[shift : shift + len(cepstra)] for shift in range(2 * REACH + 1)]
    return np.concatenate(shifted, axis=1)


def delta_transform(cepstra: int) -> np.ndarray:
    """The matrix ``(3 * cepstra, (2 * REACH + 1) * cepstra)`` float32 from spliced cepstra to deltas.

    That is: to the cepstra and their first and second derivatives, as Kaldi's ``add-deltas`` computes them
    with its defaults. The first derivative is the regression slope over five frames; the second applies
    that filter twice.
    """
    steps = np.arange(-DELTA_WINDOW, DELTA_WINDOW + 1)
    slope = steps / np.sum(steps**2)
    taps = np.zeros((3, 2 * REACH + 1))
    taps[0, REACH] = 1.0
    taps[1, REACH - DELTA_WINDOW : REACH + DELTA_WINDOW + 1] = slope
    taps[2] = np.convolve(slope, slope)
    return np.kron(taps, np.eye(cepstra)).astype(np.float32)
