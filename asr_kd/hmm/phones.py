"""The phones of a model and their numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asr_kd.errors import AsrKdError

EPSILON = "<eps>"
SILENCE = "SIL"


@dataclass(frozen=True)
class PhoneTable:
    """Phones numbered from 1, silence first; number 0 is epsilon.

    Attributes:
        names: silence and then every other phone; ``names[i]`` has the number i + 1.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, phones: Iterable[str]) -> "PhoneTable":
        """The table of these phones, sorted, and silence."""
        return cls((SILENCE, *sorted(set(phones) - {SILENCE})))

    @property
    def silence(self) -> int:
        """The number of silence."""
        return 1

    @property
    def numbers(self) -> list[int]:
        """The numbers of all phones, silence included."""
        return list(range(1, len(self.names) + 1))

    @property
    def speech(self) -> list[int]:
        """The numbers of all phones but silence."""
        return self.numbers[1:]

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each phone."""
        return {name: place for place, name in enumerate(self.names, start=1)}

    def write(self, path: Path) -> None:
        """Write a symbol table ``phone number``, epsilon included, as in Kaldi's ``phones.txt``."""
        lines = [f"{name} {number}\n" for number, name in enumerate((EPSILON, *self.names))]
        path.write_text("".join(lines), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "PhoneTable":
        """Read what `write` wrote.

        Raises:
            AsrKdError: the file is missing or not such a table.
        """
        try:
            rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            raise AsrKdError(f"{path} is missing; run stage align") from None
        if [row[1:] for row in rows] != [[str(number)] for number in range(len(rows))] or len(rows) < 3:
            raise AsrKdError(f"{path} is not a table `phone number` counted from 0; run stage align again")
        return cls(tuple(row[0] for row in rows[1:]))
