"""References and hypotheses in the formats that people have: Kaldi text, CTM, JSON lines."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_kd.corpus.text import json_lines, numbered_lines
from asr_kd.errors import AsrKdError

Transcripts = dict[str, list[str]]
_ID_KEYS = ("id", "utt_id", "utterance", "audio_filepath")
_HYPOTHESIS_KEYS = ("pred_text", "hypothesis", "text", "words")
_REFERENCE_KEYS = ("text", "words")


@dataclass(frozen=True)
class Reference:
    """What was said.

    Attributes:
        words: by utterance id.
        speakers: of the utterances; empty where they are not known.
    """

    words: Transcripts
    speakers: dict[str, str]


def read_reference(path: Path, speakers: Path | None = None) -> Reference:
    """Read references.

    Args:
        path: a Kaldi text file (``id WORD WORD ...``), a Kaldi data directory (its ``text`` and ``utt2spk``),
            or JSON lines with ``id``, ``text`` and perhaps ``speaker``, such as this program's manifests.
        speakers: a file ``id speaker`` (Kaldi's ``utt2spk``).

    Raises:
        AsrKdError: a file is missing or malformed, or utterances have no speaker.
    """
    if path.is_dir():
        found = Reference(_read_text(path / "text"), {})
        speakers = speakers or (path / "utt2spk" if (path / "utt2spk").is_file() else None)
    elif path.suffix == ".jsonl":
        rows = list(json_lines(_existing(path)))
        names = {str(_key(row, _ID_KEYS, place)): row.get("speaker") for place, row in rows}
        known = {name: str(speaker) for name, speaker in names.items() if speaker is not None}
        found = Reference(_by_id(path, rows, _REFERENCE_KEYS), known if len(known) == len(names) else {})
    else:
        found = Reference(_read_text(path), {})
    return found if speakers is None else Reference(found.words, _read_speakers(speakers, found.words))


def read_hypotheses(path: Path, references: Transcripts) -> Transcripts:
    """Read what a system recognised.

    Args:
        path: a Kaldi text file, a CTM (``.ctm``), or JSON lines (``.jsonl``: ``id`` and ``text``,
            ``hypothesis`` or ``pred_text``).
        references: a CTM does not list utterances without words: those of the references are empty.

    Raises:
        AsrKdError: the file is missing or malformed; names the line.
    """
    _existing(path)
    if path.suffix == ".ctm":
        return {name: [] for name in references} | _read_ctm(path)
    if path.suffix == ".jsonl":
        return _by_id(path, list(json_lines(path)), _HYPOTHESIS_KEYS)
    return _read_text(path)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise AsrKdError(f"{path} is not there: give a file of transcripts or a report")
    return path


def _read_text(path: Path) -> Transcripts:
    """Kaldi's format: ``id WORD WORD ...`` a line."""
    found: Transcripts = {}
    for number, line in numbered_lines(_existing(path)):
        name, *words = line.split()
        if name in found:
            raise AsrKdError(f"{path}:{number}: the utterance {name!r} was there before")
        found[name] = words
    return found


def _read_speakers(path: Path, words: Transcripts) -> dict[str, str]:
    table = {name: fields for name, fields in _read_text(path).items() if fields}
    lacking = sorted(words.keys() - table.keys())
    if lacking:
        raise AsrKdError(f"{path}: {len(lacking)} utterances have no speaker, first {lacking[0]}")
    return {name: table[name][0] for name in words}


def _by_id(path: Path, rows: list[tuple[str, dict[str, Any]]], keys: tuple[str, ...]) -> Transcripts:
    found: Transcripts = {}
    for place, row in rows:
        name = str(_key(row, _ID_KEYS, place))
        if name in found:
            raise AsrKdError(f"{place}: the utterance {name!r} was there before")
        text = _key(row, keys, place)
        if not isinstance(text, str | list):
            raise AsrKdError(f"{place}: the words of {name!r} are neither a text nor a list: {text!r}")
        found[name] = text.split() if isinstance(text, str) else [str(word) for word in text]
    return found


def _key(row: dict[str, Any], keys: tuple[str, ...], place: str) -> Any:
    for key in keys:
        if key in row:
            return row[key]
    raise AsrKdError(f"{place}: none of the keys {', '.join(keys)}")


def _read_ctm(path: Path) -> Transcripts:
    """``recording channel start duration word [confidence]`` a line, in any order."""
    words: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, str] = {}
    for number, line in numbered_lines(path):
        fields = line.split()
        if fields[0].startswith(";;"):
            continue
        try:
            name, channel, start, _, word = fields[:5]
            if not math.isfinite(float(start)):
                raise ValueError
            words.setdefault(name, []).append((float(start), word))
        except ValueError:
            raise AsrKdError(f"{path}:{number}: not a line `recording channel start duration word`") from None
        if word.startswith("<ALT"):
            raise AsrKdError(f"{path}:{number}: alternatives (<ALT>) are not supported; choose one of them")
        if channels.setdefault(name, channel) != channel:
            raise AsrKdError(f"{path}:{number}: {name} has several channels; name them as utterances")
    return {
        name: [word for _, word in sorted(found, key=lambda pair: pair[0])] for name, found in words.items()
    }
