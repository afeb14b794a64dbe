"""Audio without transcripts: a manifest, or a folder."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from asr_kd.corpus.audio import AUDIO_SUFFIXES, check_name
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.text import json_lines
from asr_kd.errors import AsrKdError


def read_unlabelled(setting: str) -> list[Utterance]:
    """The utterances of `data.unlabelled`, sorted by speaker and id.

    Args:
        setting: a manifest: on every line a JSON object with ``id``, ``speaker``, ``audio`` (a path, from the
            manifest's folder on) and perhaps ``start_seconds`` and ``duration_seconds``; or a folder, of
            which every audio file is an utterance and the first folder below it the speaker.

    Raises:
        AsrKdError: neither is there, a line is not an utterance, or an id occurs twice.
    """
    path = Path(setting).expanduser().absolute()
    if path.is_dir():
        utterances = _from_folder(path)
    elif path.is_file():
        utterances = _from_manifest(path)
    else:
        raise AsrKdError(f"data.unlabelled={setting}: there is no such manifest or folder")
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            raise AsrKdError(f"data.unlabelled={setting}: utterance {utterance.id} is there twice")
        seen.add(utterance.id)
    if not utterances:
        raise AsrKdError(f"data.unlabelled={setting}: there is no audio in it")
    return sorted(utterances, key=lambda utterance: (utterance.speaker, utterance.id))


def refuse_known_speakers(unlabelled: Collection[Utterance], known: Collection[Utterance], part: str) -> None:
    """Refuse to learn from speakers of `part`, with or without their words.

    Raises:
        AsrKdError: a speaker is on both sides; names who.
    """
    both = {utterance.speaker for utterance in unlabelled} & {utterance.speaker for utterance in known}
    if both:
        raise AsrKdError(
            f"data.unlabelled: speaker {min(both)} is in part {part} as well; leave {part} speakers out of it"
        )


def _from_folder(top: Path) -> list[Utterance]:
    files = sorted(path for path in top.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    for file in files:
        check_name(file)
    return [Utterance(file.stem, file.relative_to(top).parts[0], str(file), "") for file in files]


def _from_manifest(path: Path) -> list[Utterance]:
    read = [Utterance.checked({**fields, "text": ""}, place) for place, fields in json_lines(path)]
    return [replace(one, audio=str(path.parent / one.audio)) for one in read]
