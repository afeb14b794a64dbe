"""Statistics that decision trees are grown from: one Gaussian for every triphone state that was seen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

# Kaldi's floor for the variances of tree statistics: states seen in a few frames must not look certain.
VARIANCE_FLOOR = 0.01
# Events held at once while statistics are added up, 680 bytes each of 40 dimensions. Those of a few hours of
# speech are added up in one go.
MOST_ROWS = 250_000


@dataclass(frozen=True, eq=False)
class TreeStatistics:
    """Sums over the frames of every triphone state, in ascending order of the events.

    Attributes:
        events: ``(events, 4)`` int64: left phone, centre phone, right phone (0 beyond the ends), pdf class.
        counts: ``(events,)`` float64, frames.
        first: ``(events, dims)`` float64, sums of features.
        second: ``(events, dims)`` float64, sums of squared features.
    """

    events: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def rows(self, mask: np.ndarray) -> "TreeStatistics":
        """The events that `mask` selects."""
        return TreeStatistics(self.events[mask], self.counts[mask], self.first[mask], self.second[mask])

    def log_likelihood(self) -> float:
        """Of all frames under one Gaussian."""
        return float(log_likelihood(self.counts.sum(), self.first.sum(axis=0), self.second.sum(axis=0)))


def log_likelihood(counts: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Log likelihood of frames under the diagonal Gaussian that fits them best.

    Args:
        counts: ``(...)`` frames; where there are none the likelihood is 0.
        first: ``(..., dims)`` sums of features.
        second: ``(..., dims)`` sums of squared features.

    Returns:
        ``(...)`` float64.
    """
    safe = np.maximum(counts, 1e-10)[..., None]
    variances = np.maximum(second / safe - (first / safe) ** 2, VARIANCE_FLOOR)
    result: np.ndarray = -0.5 * counts * np.sum(np.log(2 * np.pi * variances) + 1, axis=-1)
    return result


def utterance_events(phones: np.ndarray, states: np.ndarray) -> np.ndarray:
    """The triphone state of every frame, out of an alignment.

    A phone begins where state 0 follows another state: topologies are entered in state 0, left for good,
    and have more than one state. A state is a pdf class.

    Args:
        phones: ``(frames,)`` the phone of each frame.
        states: ``(frames,)`` its HMM state.

    Returns:
        ``(frames, 4)`` int64: left, centre, right, pdf class.
    """
    begins = np.concatenate([[True], (states[1:] == 0) & (states[:-1] != 0)])
    segment = np.cumsum(begins) - 1
    sequence = np.concatenate([[0], phones[begins], [0]])
    windows = [sequence[segment + shift] for shift in range(3)]
    return np.stack([*windows, states], axis=1).astype(np.int64)


def accumulate(events: np.ndarray, features: np.ndarray) -> TreeStatistics:
    """Sums over frames with equal events.

    Args:
        events: ``(frames, 4)``.
        features: ``(frames, dims)``.
    """
    wide = features.astype(np.float64)
    return _sum_equal(events, (np.ones(len(events)), wide, wide * wide))


def merge(pieces: Iterable[TreeStatistics], dims: int, rows: int = MOST_ROWS) -> TreeStatistics:
    """The statistics of all pieces together.

    Args:
        pieces: to add up; may be made one by one.
        dims: the dimension of the features.
        rows: events of pieces that are held at once; more are added up before the next piece is asked for.
    """
    nothing = TreeStatistics(
        np.zeros((0, 4), np.int64), np.zeros(0), np.zeros((0, dims)), np.zeros((0, dims))
    )
    waiting, held, most = [nothing], 0, rows
    for piece in pieces:
        waiting.append(piece)
        held += len(piece.counts)
        if held > most:
            waiting = [_merged(waiting)]
            held = len(waiting[0].counts)
            most = max(rows, 2 * held)
    return _merged(waiting)


def _merged(pieces: Sequence[TreeStatistics]) -> TreeStatistics:
    # One after another: all columns together take as much again as the pieces.
    columns = (
        np.concatenate([column(piece) for piece in pieces])
        for column in (attrgetter("counts"), attrgetter("first"), attrgetter("second"))
    )
    return _sum_equal(np.concatenate([piece.events for piece in pieces]), columns)


def _sum_equal(events: np.ndarray, columns: Iterable[np.ndarray]) -> TreeStatistics:
    """Sums of counts, first and second by equal events ``(rows, 4)``."""
    order = np.lexsort(events.T[::-1])
    ordered = events[order]
    changes = np.any(ordered[1:] != ordered[:-1], axis=1)
    starts = np.flatnonzero(np.concatenate([[len(events) > 0], changes]))
    if not len(starts):
        return TreeStatistics(events, *columns)
    sums = (np.add.reduceat(values[order], starts, axis=0) for values in columns)
    return TreeStatistics(ordered[starts], *sums)
