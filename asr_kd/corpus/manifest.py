"""Utterances and manifests: what a corpus is to every later stage."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_kd.corpus.text import json_lines
from asr_kd.errors import AsrKdError

LATEST_SECONDS = 1e9  # thirty years: no recording reaches so far


@dataclass(frozen=True)
class Utterance:
    """One utterance of a corpus.

    Attributes:
        id: unique over all parts.
        speaker: who speaks.
        audio: the audio file (absolute).
        text: the transcript, words separated by single spaces; empty where there is none.
        start_seconds: where the utterance begins in the file.
        duration_seconds: how long it is; None until the audio has been looked at: to the end of the file.
    """

    id: str
    speaker: str
    audio: str
    text: str
    start_seconds: float = 0.0
    duration_seconds: float | None = None

    @property
    def words(self) -> list[str]:
        """The transcript as a list of words."""
        return self.text.split()

    @classmethod
    def checked(cls, fields: Mapping[str, Any], place: str) -> "Utterance":
        """An utterance of what a file says at `place`.

        Raises:
            AsrKdError: a field is missing, unknown, or not what it should be.
        """
        try:
            utterance = cls(**fields)
        except TypeError as error:
            raise AsrKdError(f"{place}: not an utterance of a manifest ({error})") from None
        for name in ("id", "speaker", "audio", "text"):
            if not isinstance(fields[name], str):
                raise AsrKdError(f"{place}: {name}={fields[name]!r} of an utterance is no text")
        for name in ("start_seconds", "duration_seconds"):
            value = getattr(utterance, name)
            if not (_is_time(value) or (value is None and name == "duration_seconds")):
                raise AsrKdError(f"{place}: {name}={value!r} of an utterance is no number of seconds")
        return utterance


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write one JSON object a line, sorted by speaker and id."""
    ordered = sorted(utterances, key=lambda utterance: (utterance.speaker, utterance.id))
    with path.open("w", encoding="utf-8") as file:
        for utterance in ordered:
            file.write(json.dumps(asdict(utterance), ensure_ascii=False) + "\n")


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest.

    Raises:
        AsrKdError: a line is not an utterance; names the file and the line.
    """
    return [Utterance.checked(fields, place) for place, fields in json_lines(path)]


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST_SECONDS
