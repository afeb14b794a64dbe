"""Statistics that decision trees are grown from: one Gaussian for every triphone state that was seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from asr_kd.frames import scratch_zeros

# Kaldi's floor for the variances of tree statistics: states seen in a few frames must not look certain.
VARIANCE_FLOOR = 0.01
_PHONE_BITS, _STATE_BITS = 18, 8  # of an event as one number
_GROWTH = 1.25  # more room than sums of statistics need when they have none left


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


def merge(pieces: Iterable[TreeStatistics], dims: int, scratch: Path | None = None) -> TreeStatistics:
    """The statistics of all pieces together.

    Args:
        pieces: to add up, each with every event once; may be made one by one, and are not kept.
        dims: the dimension of the features.
        scratch: folder for files without a name, in which the sums then are: all triphones of a language fill
            150 MB. None: they are in memory.
    """
    total = _Sums(dims, scratch)
    for piece in pieces:
        total.add(piece)
    return total.ordered()


class _Sums:
    """Sums by event that pieces are added to in place: beside them there is a single piece at a time."""

    def __init__(self, dims: int, scratch: Path | None) -> None:
        self._zeros = np.zeros if scratch is None else partial(scratch_zeros, scratch)
        self._codes, self._rows = np.zeros(0, np.int64), np.zeros(0, np.int64)  # in ascending order of codes
        self._columns = [np.zeros(0), np.zeros((0, dims)), np.zeros((0, dims))]

    def add(self, piece: TreeStatistics) -> None:
        codes = _codes(piece.events)
        places = np.searchsorted(self._codes, codes)
        known = places < len(self._codes)
        known[known] = self._codes[places[known]] == codes[known]
        new = codes[~known]
        rows = np.empty(len(codes), np.int64)
        rows[known] = self._rows[places[known]]
        rows[~known] = len(self._codes) + np.arange(len(new))
        self._make_room(len(self._codes) + len(new))
        for column, values in zip(self._columns, (piece.counts, piece.first, piece.second), strict=True):
            column[rows] += values
        self._rows = np.insert(self._rows, places[~known], rows[~known])
        self._codes = np.insert(self._codes, places[~known], new)

    def _make_room(self, rows: int) -> None:
        if rows > len(self._columns[0]):
            for number, column in enumerate(self._columns):
                grown = self._zeros((int(_GROWTH * rows), *column.shape[1:]))
                grown[: len(column)] = column
                self._columns[number] = grown

    def ordered(self) -> TreeStatistics:
        """The statistics; of the sums nothing is left."""
        columns = []
        while self._columns:  # one after another: all of them once more would take as much again
            column = self._columns.pop(0)
            ordered = self._zeros((len(self._rows), *column.shape[1:]))
            columns.append(np.take(column, self._rows, axis=0, out=ordered, mode="clip"))
        return TreeStatistics(_events(self._codes), *columns)


def _codes(events: np.ndarray) -> np.ndarray:
    """Events as numbers ``(events,)`` int64 in the same order."""
    left, centre, right, state = events.T
    codes: np.ndarray = (((left << _PHONE_BITS | centre) << _PHONE_BITS | right) << _STATE_BITS) | state
    return codes


def _events(codes: np.ndarray) -> np.ndarray:
    """The reverse of `_codes`."""
    phones, mask = codes >> _STATE_BITS, (1 << _PHONE_BITS) - 1
    contexts = [phones >> shift & mask for shift in (2 * _PHONE_BITS, _PHONE_BITS, 0)]
    return np.stack([*contexts, codes & ((1 << _STATE_BITS) - 1)], axis=1)


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
