"""Sets of senones that a network confuses: K-means on the covariance of its posteriors.

Hinton, Vinyals and Dean (2015), section 5.3: classes that are often predicted together have similar columns
in the covariance matrix of the generalist's predictions, and become the classes of one specialist. One pass
over posteriors, memory in senones squared.
"""

from collections.abc import Sequence

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.seeding import generator

COLUMNS = ("correlation", "covariance")
_BATCH, _EPOCHS = 64, 10  # columns a mini-batch, and how often every column is seen
_STARTS = 8  # of which the clusters with the least squared distances are kept


class Moments:
    """Sums over posteriors, from which their covariance follows.

    Attributes:
        frames: how many were added.
        first: ``(senones,)`` float64.
        second: ``(senones, senones)`` float64, sums of products.
    """

    def __init__(self, senones: int) -> None:
        self.frames, self.first, self.second = 0, np.zeros(senones), np.zeros((senones, senones))

    def add(self, posteriors: np.ndarray) -> None:
        """Count some frames: ``(frames, senones)``."""
        p = posteriors.astype(np.float64)
        self.frames += len(p)
        self.first += p.sum(0)
        self.second += p.T @ p

    def merge(self, other: "Moments") -> None:
        """Count the frames of `other` too."""
        self.frames += other.frames
        self.first += other.first
        self.second += other.second

    def covariance(self) -> np.ndarray:
        """``(senones, senones)`` float64."""
        mean = self.first / max(self.frames, 1)
        return self.second / max(self.frames, 1) - np.outer(mean, mean)


def prepare_columns(covariance: np.ndarray, columns: str) -> np.ndarray:
    """What is clustered, one row a senone, ``(senones, senones)``.

    Args:
        covariance: of the posteriors.
        columns: "covariance": its columns as they are, as the paper has it, where frequent senones lie far
            from all others whatever they are confused with; "correlation": those of the correlation matrix,
            scaled to length 1, so that rare and frequent senones count alike.

    Raises:
        AsrKdError: an unknown kind.
    """
    if columns not in COLUMNS:
        raise AsrKdError(f"train.specialists.columns={columns!r}: choose one of {', '.join(COLUMNS)}")
    if columns == "covariance":
        return covariance
    rows = correlation(covariance)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = rows / np.where(lengths > 0, lengths, 1.0)
    return scaled


def correlation(covariance: np.ndarray) -> np.ndarray:
    """``(senones, senones)``; zeros where a senone's posterior never changes."""
    deviation = np.sqrt(np.diag(covariance).clip(min=0.0))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scaled: np.ndarray = covariance * inverse[:, None] * inverse
    return scaled


def cluster(rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mini-batch K-means (Sculley 2010), begun by k-means++ (Arthur and Vassilvitskii 2007).

    A cluster that is left without members takes the row that is farthest from its centre, of a cluster that
    has others.

    Args:
        rows: ``(rows, dims)``.
        count: clusters, at most one a row.
        seed: decides the start and the order of the rows.

    Returns:
        Centres ``(count, dims)``, and the cluster of each row ``(rows,)``: every cluster has at least one.
    """
    best, least = np.empty(0), np.inf
    for start in range(_STARTS):
        centres = _run(rows, count, generator(seed, "specialists", "k-means", start))
        total = float(squared_distances(rows, centres).min(1).sum())
        if total < least:
            best, least = centres, total
    return _fill_empty(rows, best, squared_distances(rows, best))


def _run(rows: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Centres ``(count, dims)`` from one start."""
    centres, seen = _first_centres(rows, count, random), np.zeros(count)
    for _ in range(_EPOCHS):
        order = random.permutation(len(rows))
        for start in range(0, len(rows), _BATCH):
            batch = rows[order[start : start + _BATCH]]
            for row, nearest in zip(batch, squared_distances(batch, centres).argmin(1), strict=True):
                seen[nearest] += 1
                centres[nearest] += (row - centres[nearest]) / seen[nearest]
    return centres


def squared_distances(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """``(rows, centres)``."""
    products = rows @ centres.T
    found: np.ndarray = (rows**2).sum(1)[:, None] - 2 * products + (centres**2).sum(1)
    return found.clip(min=0.0)


def _first_centres(rows: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Rows drawn in proportion to their squared distance to the nearest one drawn before."""
    chosen = [int(random.integers(len(rows)))]
    nearest = squared_distances(rows, rows[chosen])[:, 0]
    while len(chosen) < count:
        weights = np.where(nearest > 1e-12, nearest, 0.0)
        weights[chosen] = 0.0
        if weights.sum() == 0:  # all others equal a centre
            weights = np.ones(len(rows))
            weights[chosen] = 0.0
        chosen.append(int(random.choice(len(rows), p=weights / weights.sum())))
        nearest = np.minimum(nearest, squared_distances(rows, rows[chosen[-1:]])[:, 0])
    return rows[chosen].copy()


def _fill_empty(
    rows: np.ndarray, centres: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    owner = distances.argmin(1)
    own = distances[np.arange(len(rows)), owner]
    for empty in np.setdiff1d(np.arange(len(centres)), owner):
        crowded = np.bincount(owner, minlength=len(centres))[owner] > 1
        far = int(np.where(crowded, own, -1.0).argmax())
        owner[far], own[far], centres[empty] = empty, 0.0, rows[far]
    return centres, owner


def make_sets(rows: np.ndarray, count: int, size: int, seed: int, frames: np.ndarray) -> list[list[int]]:
    """The sets of the specialists.

    Args:
        rows: of `prepare_columns`.
        count: sets asked for.
        size: senones of a set: those nearest to the centre of a cluster, so that sets may overlap; 0: the
            clusters themselves, which do not.
        seed: of the clustering.
        frames: labelled frames of each senone in training, ``(senones,)``.

    Returns:
        Ascending senones by set. Sets that equal an earlier one, and those of which no frame is labelled, or
        every frame, so that nothing can be learnt, are left out: there may be fewer than asked for.

    Raises:
        AsrKdError: more sets than senones, sets as large as all senones, or none from which to learn.
    """
    senones = len(rows)
    if not 1 <= count <= senones or not 0 <= size < senones:
        raise AsrKdError(
            f"train.specialists: count={count} and size={size} for {senones} senones; give at most as many "
            "sets as senones, and sets that are smaller than all senones together"
        )
    centres, owner = cluster(rows, count, seed)
    if size:
        nearest = squared_distances(rows, centres).argsort(axis=0, kind="stable")[:size]
        candidates = [sorted(column.tolist()) for column in nearest.T]
    else:
        candidates = [np.flatnonzero(owner == place).tolist() for place in range(count)]
    found = distinct_sets(candidates, frames)
    if not found:
        raise AsrKdError(
            f"train.specialists: with count={count} and size={size} every set has all labelled frames or "
            "none, and there is nothing to tell apart; give more sets, or smaller ones"
        )
    return found


def distinct_sets(candidates: Sequence[Sequence[int]], frames: np.ndarray) -> list[list[int]]:
    """Each set once, the most frequent first; only those with some, not all, `frames` ``(senones,)``."""
    unique = {tuple(one) for one in candidates if 0 < frames[list(one)].sum() < frames.sum()}
    return [list(one) for one in sorted(unique, key=lambda one: (-frames[list(one)].sum(), one))]
