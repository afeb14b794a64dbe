"""Diagonal-covariance Gaussian mixtures of all pdfs, as flat arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
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
        scores: np.ndarray = matrix[gaussians] @ _with_squares(features).T
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
        # Largest mixtures first: then the k-th Gaussians of all pdfs that have one form a block without gaps.
        order = np.argsort(-self.sizes[wanted], kind="stable")
        blocks = self._blocks(wanted[order])
        matrix, constants = (table[np.concatenate(blocks)] for table in self._linear)
        edges = np.cumsum([0, *map(len, blocks)])
        extended = _with_squares(features).T
        result = np.empty((len(features), len(wanted)), dtype=np.float32)
        for begin in range(0, len(features), CHUNK_FRAMES):
            chunk = slice(begin, begin + CHUNK_FRAMES)
            scores = matrix @ extended[:, chunk]
            scores += constants[:, None]
            result[chunk, order] = _log_sum_exp([scores[a:b] for a, b in pairwise(edges)]).T
        return result

    def responsibilities(
        self, features: np.ndarray, pdfs: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, float]]:
        """Which Gaussians account for frames whose pdf is known, pdf by pdf.

        Args:
            features: ``(frames, dims)`` float32.
            pdfs: ``(frames,)`` int, the pdf of each frame; frames of pdf -1 are left out.

        Yields:
            The Gaussians of a pdf; ``(rows,)`` its frames; ``(gaussians, rows)`` float64 posteriors of the
            Gaussians; the log likelihood of these frames.
        """
        order = np.argsort(pdfs, kind="stable")
        present, first_rows = np.unique(pdfs[order], return_index=True)
        for pdf, rows in zip(present, np.split(order, first_rows[1:]), strict=True):
            if pdf < 0:
                continue
            gaussians = slice(int(self.offsets[pdf]), int(self.offsets[pdf + 1]))
            scores = self.component_log_likelihoods(features[rows], gaussians).astype(np.float64)
            highest = scores.max(axis=0)
            posteriors = np.exp(scores - highest)
            total = posteriors.sum(axis=0)
            posteriors /= total
            yield gaussians, rows, posteriors, float(np.sum(highest + np.log(total)))

    def _blocks(self, pdfs: np.ndarray) -> list[np.ndarray]:
        """Block k: the k-th Gaussian of each of `pdfs` (by descending size) that has so many."""
        sizes = self.sizes[pdfs]
        return [self.offsets[pdfs[: np.sum(sizes > k)]] + k for k in range(sizes.max(initial=1))]

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


def _with_squares(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, features * features], axis=1)


def _log_sum_exp(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Row by row over the blocks, of which later ones have fewer rows.

    Args:
        blocks: each ``(rows, frames)``; overwritten.

    Returns:
        ``(rows of the first block, frames)``.
    """
    highest = blocks[0].copy()
    for block in blocks[1:]:
        np.maximum(highest[: len(block)], block, out=highest[: len(block)])
    total = np.zeros_like(highest)
    for block in blocks:
        np.subtract(block, highest[: len(block)], out=block)
        np.exp(block, out=block)
        total[: len(block)] += block
    np.log(total, out=total)
    total += highest
    return total
