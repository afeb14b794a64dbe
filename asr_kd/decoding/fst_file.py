"""Transducers in OpenFst's vector format, looked at before OpenFst is: it trusts what a file says.

A state that an arc leads to and that is not there ends the process; a cycle of arcs without input keeps the
search for ever; a word without a name is found out when it is recognised.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError

_MAGIC = struct.pack("<i", 2125659606)
_UNCOUNTED = -1  # states of a file that was written to a pipe
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("state", "<i4")])
_WORD = 4  # bytes: states and arcs are whole numbers of these
_STATE_WORDS, _ARC_WORDS = 3, _ARC.itemsize // _WORD  # a state is its final weight and its number of arcs


@dataclass(frozen=True, eq=False)
class FstFile:
    """The content of a file.

    Attributes:
        start: the first state.
        finals: ``(states,)`` float32, infinity where a path cannot end.
        counts: ``(states,)`` int64, arcs that leave each state.
        arcs: ``(arcs,)``, those of the first state first.
    """

    start: int
    finals: np.ndarray
    counts: np.ndarray
    arcs: np.ndarray

    @classmethod
    def read(cls, path: Path, counts: np.ndarray | None = None) -> "FstFile":
        """Read a file and check that it is whole.

        Args:
            path: of the file.
            counts: ``(states,)`` integers, arcs that leave each state, if somebody noted them: with them the
                states are found at once, and not one after the other. They are compared with the file.

        Raises:
            AsrKdError: it is missing, damaged or of another format, has no states, or is not as counted.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AsrKdError(f"{path} cannot be read ({error.strerror})") from error
        try:
            start, states, begin = _header(content)
            finals, counts, arcs = _body(memoryview(content)[begin:], states, counts)
        except (ValueError, struct.error) as error:
            raise AsrKdError(f"{path} is damaged or no transducer that can be read: {error}") from None
        if not 0 <= start < len(finals):
            raise AsrKdError(f"{path} is empty: it has no first state")
        return cls(start, finals, counts, arcs)

    def check(self, path: Path, words: Collection[int]) -> None:
        """Check that a search of the transducer comes to an end, and to words.

        Args:
            path: for messages.
            words: the output labels that have a name.

        Raises:
            AsrKdError: a state, label or weight is none, nothing is final, or arcs without input go in a
                circle.
        """
        arcs, states = self.arcs, len(self.finals)
        problems = {
            "an arc leads to a state that is not there": ~_within(arcs["state"], states),
            "an input label is negative": arcs["input"] < 0,
            "a weight is no finite number": ~np.isfinite(arcs["weight"]),
            "an output label is no word of its table": np.isin(arcs["output"], [0, *words], invert=True),
        }
        for what, wrong in problems.items():
            if wrong.any():
                state = int(np.repeat(np.arange(states), self.counts)[wrong.argmax()])
                raise AsrKdError(f"{path}: {what} (an arc of state {state})")
        if np.isnan(self.finals).any() or np.isneginf(self.finals).any():
            raise AsrKdError(f"{path}: a final weight is no number")
        if not np.isfinite(self.finals).any():
            raise AsrKdError(f"{path}: no state is final, so that no utterance could end")
        if (turning := self._on_silent_cycle()) is not None:
            raise AsrKdError(
                f"{path}: arcs without input go in a circle, near state {turning}: a search could turn there "
                "for ever; remove epsilon cycles from the grammar"
            )

    def _on_silent_cycle(self) -> int | None:
        """A state on a circle of arcs without input, or that one leads to; None if there is none.

        Arcs whose first state no arc leads to are taken away, again and again (Kahn 1962).
        """
        silent = self.arcs["input"] == 0
        sources = np.repeat(np.arange(len(self.finals)), self.counts)[silent]
        targets = self.arcs["state"][silent]
        coming = np.bincount(targets, minlength=len(self.finals))
        first = np.searchsorted(sources, np.arange(len(self.finals) + 1))
        ready, gone = _distinct(sources[coming[sources] == 0])[0], 0
        while len(ready):
            leaving = first[ready + 1] - first[ready]
            gone += int(leaving.sum())
            reached = targets[np.repeat(first[ready], leaving) + _count_up(leaving)]
            states, times = _distinct(np.sort(reached))
            coming[states] -= times
            ready = states[coming[states] == 0]
        return None if gone == len(sources) else int(sources[coming[sources] > 0][0])


def _header(content: bytes) -> tuple[int, int, int]:
    """First state, number of states, and where they begin."""
    if content[:4] != _MAGIC:
        raise ValueError("it does not begin as one of OpenFst does")
    kind, place = _text(content, 4)
    arc, place = _text(content, place)
    if (kind, arc) != (b"vector", b"standard"):
        raise ValueError(
            f"it is of type {kind.decode(errors='replace')!r} with {arc.decode(errors='replace')!r} arcs; "
            "convert it: fstconvert --fst_type=vector"
        )
    version, flags, _, start, states, _ = struct.unpack_from("<iiQqqq", content, place)
    if version != 2 or flags & 3:
        raise ValueError(
            f"version {version}, flags {flags}: only version 2 is read, without symbol tables "
            "(fstsymbols --clear_isymbols --clear_osymbols)"
        )
    return start, states, place + struct.calcsize("<iiQqqq")


def _text(content: bytes, place: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<i", content, place)
    if not 0 <= length <= len(content) - place - 4:
        raise ValueError("its header is damaged")
    return content[place + 4 : place + 4 + length], place + 4 + length


def _body(
    content: memoryview, states: int, noted: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Final weights, numbers of arcs, and arcs."""
    if len(content) % _WORD or states * _STATE_WORDS * _WORD > len(content):
        raise ValueError("it is truncated or damaged")
    flat = np.frombuffer(content, "<i4")
    begin, end = _starts(content.cast("I")) if noted is None else _noted_starts(noted, flat)
    beyond = flat[begin + 2] != 0  # the number of arcs has 8 bytes
    if end != len(flat) or beyond.any():
        wrong = int(beyond.argmax()) if beyond.any() else len(begin) - 1
        raise ValueError(f"state {wrong} claims arcs that are not there: it is truncated or damaged")
    if states not in {_UNCOUNTED, len(begin)}:
        raise ValueError(f"{len(begin)} states can be read, its header says {states}")
    counts = flat[begin + 1].astype(np.int64)
    in_arcs = np.ones(len(flat), bool)
    for word in range(_STATE_WORDS):
        in_arcs[begin + word] = False
    return flat[begin].view("<f4"), counts, flat[in_arcs].view(_ARC)


def _noted_starts(counts: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, int]:
    """As `_starts`, where these are the numbers of arcs of the states."""
    listed = counts.ndim == 1 and counts.dtype.kind in "iu" and _STATE_WORDS * len(counts) <= len(flat)
    if listed and _within(counts, len(flat)).all():  # whose sum is no more than a number can be
        ends = np.cumsum(_STATE_WORDS + _ARC_WORDS * counts.astype(np.int64))
        if len(ends) and ends[-1] == len(flat):
            begin = np.append(0, ends[:-1])
            if (flat[begin + 1] == counts).all():
                return begin, len(flat)
    raise ValueError("it has not the numbers of arcs that were noted beside it")


def _starts(numbers: "memoryview[int]") -> tuple[np.ndarray, int]:
    """Where states begin, as far as they can be followed, and where the last one ends.

    Only a state tells where the next one begins. There are millions: all else is looked at afterwards.
    """
    starts: list[int] = []
    place, last = 0, len(numbers) - _STATE_WORDS
    while place <= last:
        starts.append(place)
        place += _STATE_WORDS + _ARC_WORDS * numbers[place + 1]
    return np.array(starts, np.int64), place


def _within(states: np.ndarray, count: int) -> np.ndarray:
    return (states >= 0) & (states < count)


def _distinct(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of an ascending array, and how often each of them is there.

    As `numpy.unique`, which puts integers into a hash table first and needs several times as long.
    """
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[first], np.diff(first, append=len(ordered))


def _count_up(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... of each length in turn."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
