"""When each recognised word was said, from the senones of the best path.

The graph gives a word out somewhere near its beginning, and one that sounds like another after its end:
determinisation and minimisation move it. The senones tell exactly: each belongs to one state of one phone
(or of a few that share their states), so a path falls into phones, and these into the pronunciations of its
words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError

Pronunciation = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PhoneMap:
    """What senones mean.

    Attributes:
        phones: by senone, the phones whose state it is.
        first: by senone, whether it is the first state of these phones.
        silence: the phone of silence.
        lexicon: the pronunciations of every word.
    """

    phones: Sequence[frozenset[str]]
    first: Sequence[bool]
    silence: str
    lexicon: Mapping[str, Sequence[Pronunciation]]

    @cached_property
    def silent(self) -> np.ndarray:
        """``(senones,)`` bool: which are of silence."""
        return np.array([self.silence in phones for phones in self.phones])

    @cached_property
    def groups(self) -> np.ndarray:
        """``(senones,)`` int64: senones with one number are states of the same phones."""
        numbers = {phones: number for number, phones in enumerate(dict.fromkeys(self.phones))}
        return np.array([numbers[phones] for phones in self.phones])

    def write(self, path: Path) -> None:
        """Write ``phones.json``."""
        content = {
            "silence": self.silence,
            "senones": [
                {"phones": sorted(phones), "first": first}
                for phones, first in zip(self.phones, self.first, strict=True)
            ],
            "lexicon": {word: [" ".join(one) for one in known] for word, known in self.lexicon.items()},
        }
        path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "PhoneMap":
        """Read what `write` wrote.

        Raises:
            AsrKdError: the file is missing or damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                [frozenset(entry["phones"]) for entry in content["senones"]],
                [bool(entry["first"]) for entry in content["senones"]],
                str(content["silence"]),
                {word: [tuple(one.split()) for one in known] for word, known in content["lexicon"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AsrKdError(f"{path} does not say what senones mean ({error!r}); export it again") from error


@dataclass(frozen=True)
class _Phone:
    """One phone of a path: what it may be, and its frames."""

    names: frozenset[str]
    first: int
    last: int  # excluded


def word_spans(
    senones: np.ndarray, words: Sequence[tuple[str, int]], phones: PhoneMap | None
) -> list[tuple[int, int]]:
    """First frame and frame after the last one, for every word.

    Args:
        senones: ``(frames,)`` of the best path.
        words: with the frame at which the graph gave each out.
        phones: what senones mean; without it (or where a path does not fall into pronunciations) words reach
            from where the graph gave them out to the next one.
    """
    if phones is not None:
        spoken = [phone for phone in _phones(senones, phones) if phones.silence not in phone.names]
        places = _divide(spoken, [phones.lexicon.get(word, ()) for word, _ in words])
        if places is not None:
            return [(spoken[first].first, spoken[last - 1].last) for first, last in places]
    starts = [frame for _, frame in words]
    return list(zip(starts, [*starts[1:], len(senones)], strict=True)) if starts else []


def _phones(senones: np.ndarray, phones: PhoneMap) -> list[_Phone]:
    """Cut a path where a phone's first state is entered anew, or the phone is another."""
    found: list[_Phone] = []
    before: int | None = None
    for frame, senone in enumerate(senones.tolist()):
        names = phones.phones[senone]
        goes_on = (
            before is not None
            and bool(found[-1].names & names)
            and (phones.silence in names or phones.first[before] or not phones.first[senone])
        )
        if goes_on:
            found[-1] = _Phone(found[-1].names & names, found[-1].first, frame + 1)
        else:
            found.append(_Phone(names, frame, frame + 1))
        before = senone
    return found


def _divide(
    phones: Sequence[_Phone], words: Sequence[Sequence[Pronunciation]]
) -> list[tuple[int, int]] | None:
    """Places of each word's phones, first and after last; None where no division fits.

    The last word may lack phones at its end: a path that ends in no final state may end within it.
    """
    # After so many words, the places at which a division may stand, and where the last word began then.
    reached: list[dict[int, int]] = [{0: 0}]
    for number, pronunciations in enumerate(words):
        last = number == len(words) - 1
        ends: dict[int, int] = {}
        for first, pronunciation in product(reached[-1], pronunciations):
            rest = len(phones) - first
            length = rest if last and 0 < rest < len(pronunciation) else len(pronunciation)
            if length <= rest and _fits(phones[first : first + length], pronunciation):
                ends.setdefault(first + length, first)
        reached.append(ends)
    place = len(phones)
    if place not in reached[-1]:
        return None
    found = []
    for ends in reversed(reached[1:]):
        found.append((ends[place], place))
        place = ends[place]
    return found[::-1]


def _fits(phones: Sequence[_Phone], pronunciation: Pronunciation) -> bool:
    return all(name in phone.names for phone, name in zip(phones, pronunciation, strict=False))
