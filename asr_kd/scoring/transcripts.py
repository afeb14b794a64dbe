"""Words by utterance, in Kaldi's text format."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asr_kd.corpus.manifest import read_manifest
from asr_kd.errors import AsrKdError


def write_transcripts(path: Path, transcripts: Mapping[str, Sequence[str]]) -> None:
    """Write ``id WORD WORD ...``, one utterance a line; an utterance may have no words."""
    lines = (" ".join([name, *words]) for name, words in transcripts.items())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_transcripts(path: Path) -> dict[str, list[str]]:
    """Read what `write_transcripts` wrote.

    Raises:
        AsrKdError: a line is empty, or an utterance occurs twice; names the file and the line.
    """
    transcripts: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, *words = line.split() or [""]
        if not name or name in transcripts:
            raise AsrKdError(f"{path}:{number}: no utterance, or one that was there before: {name!r}")
        transcripts[name] = words
    return transcripts


def read_references(manifest: Path) -> dict[str, list[str]]:
    """The words that were said, from a manifest of stage data."""
    return {utterance.id: utterance.words for utterance in read_manifest(manifest)}
