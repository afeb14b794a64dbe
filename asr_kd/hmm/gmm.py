"""Diagonal-covariance Gaussian mixtures of all pdfs, as flat arrays."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError

GMM_FILE = "gmm.npz"
# Frames scored at once: the (gaussians, frames) matrix then stays in the processor's cache.
CHUNK_FRAMES = 128


@dataclass(frozen=True, eq=False)
class DiagonalGmms:
    """The mixtures of every pdf; the Gaussians of one pdf lie side by side.

    Attributes:
        offsets: ``(pdfs + 1,)`` int64; pdf p owns the Gaussians ``offsets[p]:offsets[p + 1]``, at least one.
        weights: ``(gaussians,)`` float64, summing to 1 over each pdf.
        means: ``(gaussians, dims)`` float64.
        variances: ``(gaussians, dims)`` float64.
    """

    offsets: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @classmethod
    def single(cls, means: np.ndarray, variances: np.ndarray) -> "DiagonalGmms":
        """One Gaussian a pdf, from means and variances ``(pdfs, dims)``."""
        pdfs = len(means)
        return cls(np.arange(pdfs + 1), np.ones(pdfs), means.astype(np.float64), variances.astype(np.float64))

    @property
    def pdfs(self) -> int:
        """The number of pdfs."""
        return len(self.offsets) - 1

    @property
    def dims(self) -> int:
        """The dimension of the features."""
        return int(self.means.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """The number of Gaussians of each pdf, ``(pdfs,)``."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """The pdf of each Gaussian, ``(gaussians,)``."""
        return np.repeat(np.arange(self.pdfs), self.sizes)

    @cached_property
    def _linear(self) -> tuple[np.ndarray, np.ndarray]:
        # The log density is linear in [x, x^2]: one matrix product scores all Gaussians.
        precisions = 1 / self.variances
        matrix = np.concatenate([self.means * precisions, -0.5 * precisions], axis=1).astype(np.float32)
        constants = np.log(self.weights) - 0.5 * np.sum(
            np.log(2 * np.pi * self.variances) + self.means**2 * precisions, axis=1
        )
        return matrix, constants.astype(np.float32)

    def component_log_likelihoods(self, features: np.ndarray, gaussians: np.ndarray | slice) -> np.ndarray:
        """Log of weight times density.

        Args:
            features: ``(frames, dims)`` float32.
            gaussians: which Gaussians.

        Returns:
            ``(gaussians, frames)`` float32.
        """
        matrix, constants = self._linear
        extended = np.concatenate([features, features * features], axis=1)
        scores: np.ndarray = matrix[gaussians] @ extended.T
        scores += constants[gaussians, None]
        return scores

    def log_likelihoods(self, features: np.ndarray, pdfs: np.ndarray | None = None) -> np.ndarray:
        """Log likelihoods of pdfs.

        Args:
            features: ``(frames, dims)`` float32.
            pdfs: ``(pdfs,)`` which ones; all by default.

        Returns:
            ``(frames, pdfs)`` float32.
        """
        wanted = np.arange(self.pdfs) if pdfs is None else np.asarray(pdfs)
        sizes = self.sizes[wanted]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        # Gaussian k of wanted pdf j lies at offsets[wanted[j]] + k.
        gaussians = np.repeat(self.offsets[wanted] - starts, sizes) + np.arange(sizes.sum())
        result = np.empty((len(features), len(wanted)), dtype=np.float32)
        for begin in range(0, len(features), CHUNK_FRAMES):
            chunk = slice(begin, begin + CHUNK_FRAMES)
            scores = self.component_log_likelihoods(features[chunk], gaussians)
            result[chunk] = _segment_log_sum_exp(scores, starts, sizes).T
        return result

    def save(self, folder: Path) -> None:
        """Write ``gmm.npz``."""
        np.savez(
            folder / GMM_FILE,
            offsets=self.offsets,
            weights=self.weights,
            means=self.means,
            variances=self.variances,
        )

    @classmethod
    def load(cls, folder: Path) -> "DiagonalGmms":
        """Read ``gmm.npz``.

        Raises:
            AsrKdError: the file is missing or its arrays do not fit together.
        """
        path = folder / GMM_FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                gmms = cls(*(arrays[name] for name in ("offsets", "weights", "means", "variances")))
        except (OSError, KeyError, ValueError) as error:
            raise AsrKdError(f"{path} cannot be read ({error}); run stage align again") from error
        gaussians = len(gmms.weights)
        fits = gmms.means.shape == gmms.variances.shape and len(gmms.means) == gaussians
        if not fits or gmms.offsets[-1] != gaussians or np.any(gmms.sizes < 1) or np.any(gmms.variances <= 0):
            raise AsrKdError(f"{path}: its arrays do not fit together; run stage align again")
        return gmms


def _segment_log_sum_exp(scores: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """``(gaussians, frames)`` -> ``(segments, frames)``. Overwrites `scores`."""
    highest = np.maximum.reduceat(scores, starts, axis=0)
    scores -= np.repeat(highest, sizes, axis=0)
    np.exp(scores, out=scores)
    total = np.add.reduceat(scores, starts, axis=0)
    np.log(total, out=total)
    total += highest
    return total
