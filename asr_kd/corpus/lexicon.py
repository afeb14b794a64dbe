"""Pronunciation lexicons: words, their pronunciations, the phone set."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr_kd.corpus.text import numbered_lines
from asr_kd.errors import AsrKdError

Pronunciation = tuple[str, ...]
VARIANT = re.compile(r"(?<=.)\(\d+\)$")  # the mark of further pronunciations, as in `WORD(2)`


@dataclass
class Lexicon:
    """Words with their pronunciations, each a tuple of phones; without silence."""

    entries: dict[str, list[Pronunciation]] = field(default_factory=dict)

    def add(self, word: str, pronunciation: Iterable[str]) -> None:
        """Add a pronunciation unless the word has it already."""
        phones = tuple(pronunciation)
        known = self.entries.setdefault(word, [])
        if phones not in known:
            known.append(phones)

    def __contains__(self, word: str) -> bool:
        return word in self.entries

    @property
    def phones(self) -> list[str]:
        """All phones, sorted."""
        return sorted({phone for entry in self.entries.values() for phones in entry for phone in phones})

    def restricted(self, words: Iterable[str]) -> "Lexicon":
        """The lexicon of these words only."""
        return Lexicon({word: self.entries[word] for word in sorted(set(words)) if word in self.entries})

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Iterable[Iterable[str]]]) -> "Lexicon":
        """A lexicon from word -> pronunciations."""
        lexicon = cls()
        for word, pronunciations in entries.items():
            for pronunciation in pronunciations:
                lexicon.add(word, pronunciation)
        return lexicon

    def write(self, path: Path) -> None:
        """Write ``WORD PHONE PHONE ...``, one pronunciation a line, sorted by word."""
        lines = (
            f"{word} {' '.join(phones)}" for word in sorted(self.entries) for phones in self.entries[word]
        )
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    @classmethod
    def read(cls, path: Path, strip_stress: bool = False) -> "Lexicon":
        """Read ``WORD PHONE PHONE ...``; pronunciation variants may be marked ``WORD(2)``.

        Args:
            path: the file.
            strip_stress: remove the stress digits of phones such as ``AH0``.

        Raises:
            AsrKdError: the file cannot be read, or a line has no pronunciation; names the file and the line.
        """
        lexicon = cls()
        for number, line in numbered_lines(path):
            fields = line.split()
            if len(fields) < 2:
                raise AsrKdError(
                    f"{path}:{number}: the word {fields[0]!r} has no pronunciation; "
                    "give one or delete the line"
                )
            word, phones = fields[0], fields[1:]
            word = VARIANT.sub("", word)
            lexicon.add(word, [phone.rstrip("012") if strip_stress else phone for phone in phones])
        return lexicon
