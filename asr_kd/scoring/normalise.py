"""The text normalisation before scoring: one for references and all systems, and said in the report."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asr_kd.errors import AsrKdError

STEPS = ("lower", "punctuation")


@dataclass(frozen=True)
class Normalisation:
    """What is done to words before they are compared.

    Unicode is always composed (NFC), and words are what white space separates.

    Attributes:
        lower: case is folded.
        punctuation: punctuation and symbols are removed, but for apostrophes and hyphens inside words.
    """

    lower: bool = False
    punctuation: bool = False

    @classmethod
    def parse(cls, steps: str) -> "Normalisation":
        """From ``none`` or steps separated by commas, e.g. ``lower,punctuation``.

        Raises:
            AsrKdError: there is no such step.
        """
        names = [name for name in steps.split(",") if name and name != "none"]
        for name in names:
            if name not in STEPS:
                raise AsrKdError(f"normalise={steps}: no step {name!r}; there are none, {', '.join(STEPS)}")
        return cls(**dict.fromkeys(names, True))

    def describe(self) -> str:
        """For the report."""
        steps = ["Unicode composed (NFC)", "words separated by white space"]
        steps += ["case folded"] if self.lower else ["case counts"]
        steps += (
            ["punctuation removed but for apostrophes and hyphens inside words"]
            if self.punctuation
            else ["punctuation counts"]
        )
        return ", ".join(steps)

    def words(self, words: Sequence[str]) -> list[str]:
        """The words of one utterance; words of nothing but punctuation vanish."""
        text = unicodedata.normalize("NFC", " ".join(words))
        if self.lower:
            text = text.casefold()
        if self.punctuation:
            text = "".join(character if _kept(text, place) else " " for place, character in enumerate(text))
        return text.split()

    def transcripts(self, transcripts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """All utterances, by id."""
        return {name: self.words(words) for name, words in transcripts.items()}


def _kept(text: str, place: int) -> bool:
    character = text[place]
    if unicodedata.category(character)[0] not in "PS":
        return True
    inside = 0 < place < len(text) - 1 and text[place - 1].isalnum() and text[place + 1].isalnum()
    return character in "'’-" and inside
