"""Linear transforms of spliced cepstra for diagonal Gaussians: LDA, then MLLT.

LDA keeps the directions that tell classes apart best; MLLT (also called semi-tied covariances) turns them
so that diagonal covariances fit (Gales, "Semi-tied covariance matrices for hidden Markov models", 1999).
"""

from dataclasses import dataclass

import numpy as np

from asr_kd.hmm.gmm import DiagonalGmms

# Of the within-class covariance, added to its diagonal in units of its mean: classes may be tiny.
LDA_REGULARISATION = 1e-6
# The rows of an MLLT are updated in turn until they have settled; few frames can leave a direction without
# any evidence, for which the regularised one stays as it is.
MLLT_ITERATIONS = 100
MLLT_REGULARISATION = 1e-8


@dataclass
class LdaStatistics:
    """Sums over frames with a class.

    Attributes:
        counts: ``(classes,)`` float64, frames.
        first: ``(classes, dims)`` float64, sums of features.
        second: ``(dims, dims)`` float64, sum of outer products over all classes.
    """

    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, classes: np.ndarray, number: int) -> "LdaStatistics":
        """Of ``(frames, dims)`` features whose ``(frames,)`` classes are below `number`."""
        wide = features.astype(np.float64)
        first = np.zeros((number, features.shape[1]))
        np.add.at(first, classes, wide)
        counts = np.bincount(classes, minlength=number).astype(np.float64)
        return cls(counts, first, wide.T @ wide)

    def add(self, other: "LdaStatistics") -> None:
        """Add the statistics of other frames."""
        self.counts += other.counts
        self.first += other.first
        self.second += other.second


def estimate_lda(statistics: LdaStatistics, dims: int) -> np.ndarray:
    """The projection with the largest ratio of variance between classes to variance within them.

    Args:
        statistics: of at least one frame.
        dims: of the result; there are no more than the features have, nor than classes but one.

    Returns:
        ``(dims, features' dims)`` float64. Within classes the projected features have covariance I; the
        rows stand in descending order of how much they tell apart.
    """
    frames = statistics.counts.sum()
    mean = statistics.first.sum(axis=0) / frames
    seen = statistics.counts > 0
    weights = statistics.counts[seen, None] / frames
    offsets = statistics.first[seen] / statistics.counts[seen, None] - mean
    between = (weights * offsets).T @ offsets
    within = statistics.second / frames - np.outer(mean, mean) - between
    within += LDA_REGULARISATION * np.trace(within) / len(within) * np.eye(len(within))
    whitening = np.linalg.inv(np.linalg.cholesky(within))
    ratios, directions = np.linalg.eigh(whitening @ between @ whitening.T)
    best = np.argsort(-ratios)[: min(dims, int(seen.sum()) - 1)]
    projection: np.ndarray = directions[:, best].T @ whitening
    # An eigenvector's sign is arbitrary: its largest element is made positive.
    rows = np.arange(len(projection))
    projection *= np.sign(projection[rows, np.abs(projection).argmax(axis=1)])[:, None]
    return projection


@dataclass
class MlltStatistics:
    """Sums over frames and Gaussians.

    Attributes:
        scatter: ``(dims, dims, dims)`` float64; the i-th matrix is the sum of the outer products of
            (frame - mean), each weighted by the Gaussian's posterior over its variance of dimension i
            (Gales 1999, equation 22).
        frames: how many.
    """

    scatter: np.ndarray
    frames: int

    @classmethod
    def of(cls, gmms: DiagonalGmms, features: np.ndarray, pdfs: np.ndarray) -> "MlltStatistics":
        """Of ``(frames, dims)`` features whose ``(frames,)`` pdfs are known; those of pdf -1 do not count."""
        dims = gmms.dims
        total = np.zeros((dims, dims * dims))
        for gaussians, rows, posteriors, _ in gmms.responsibilities(features, pdfs):
            own = features[rows]
            offsets = own - gmms.means[gaussians, None].astype(np.float32)
            weighted = offsets * posteriors[:, :, None].astype(np.float32)
            outer = np.matmul(weighted.transpose(0, 2, 1), offsets).reshape(-1, dims * dims)
            total += (1 / gmms.variances[gaussians]).T @ outer
        return cls(total.reshape(dims, dims, dims), int(np.sum(pdfs >= 0)))

    def add(self, other: "MlltStatistics") -> None:
        """Add the statistics of other frames."""
        self.scatter += other.scatter
        self.frames += other.frames


def estimate_mllt(statistics: MlltStatistics) -> np.ndarray:
    """The square transform under which diagonal Gaussians give the frames the highest likelihood.

    Row by row, each the best given the others: the cofactors of the row times the inverse scatter, scaled
    (Gales 1999, equation 23).

    Returns:
        ``(dims, dims)`` float64, to be applied to features and means alike.
    """
    dims = len(statistics.scatter)
    sizes = np.trace(statistics.scatter, axis1=1, axis2=2) / dims
    inverses = np.linalg.inv(statistics.scatter + MLLT_REGULARISATION * sizes[:, None, None] * np.eye(dims))
    transform = np.eye(dims)
    for _ in range(MLLT_ITERATIONS):
        for row in range(dims):
            # Up to the determinant, which cancels: the cofactors of the row.
            cofactors = np.linalg.inv(transform)[:, row]
            direction = cofactors @ inverses[row]
            transform[row] = direction * np.sqrt(statistics.frames / (direction @ cofactors))
    return transform
