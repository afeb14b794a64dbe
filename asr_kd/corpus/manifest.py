"""Utterances and manifests: what a corpus is to every later stage."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from asr_kd.errors import AsrKdError


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
    utterances = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            utterances.append(Utterance(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise AsrKdError(f"{path}:{number}: not an utterance of a manifest ({error})") from error
    return utterances
