"""The paired permutation test, in which each unit's difference may change its sign."""

import numpy as np
from scipy.fft import irfft, next_fast_len


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p value of the sign-flip test (Fisher, "The design of experiments", 1935, section 21).

    Where two systems are equally good, each unit's difference is as likely to be positive as negative. The
    distribution of the sum over all ``2**units`` sign patterns is computed exactly: the differences are whole
    numbers, so its characteristic function, the product of ``cos(difference * t)``, is turned back into
    probabilities by one Fourier transform. Right to about 1e-15.

    Args:
        differences: ``(units,)`` whole numbers, errors of one system minus errors of the other.

    Raises:
        ValueError: the differences are not whole numbers.
    """
    magnitudes = np.abs(np.rint(differences)).astype(np.int64)
    if not np.array_equal(magnitudes, np.abs(differences)):
        raise ValueError("differences must be whole numbers; scale them")
    reach = int(magnitudes.sum())
    if not reach:
        return 1.0
    values, counts = np.unique(magnitudes[magnitudes > 0], return_counts=True)
    size = next_fast_len(2 * reach + 1, real=True)  # room for the sums -reach ... reach
    angles = 2 * np.pi / size * np.arange(size // 2 + 1)
    spectrum = np.ones_like(angles)
    for value, count in zip(values, counts, strict=True):
        spectrum *= np.cos(value * angles) ** count
    chances = irfft(spectrum, size)  # of the sum s at place s, negative ones from the end
    observed = abs(int(np.rint(np.sum(differences))))
    if not observed:
        return 1.0
    p = chances[observed : reach + 1].sum() + chances[size - reach : size - observed + 1].sum()
    # The pattern seen and its mirror image are always among those that count.
    return float(min(1.0, max(p, 2.0 ** (1 - counts.sum()))))
