"""Kaldi data directories, in and out.

The format is described in "Data preparation" of the Kaldi documentation: ``text``, ``wav.scp``,
``utt2spk`` and, where utterances are pieces of recordings, ``segments``.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from asr_kd.config import PartsConfig
from asr_kd.corpus.audio import MAX_OVERSHOOT_SECONDS, audio_info
from asr_kd.corpus.corpus import part_names
from asr_kd.corpus.manifest import LATEST_SECONDS, Utterance
from asr_kd.corpus.text import read_lines
from asr_kd.errors import AsrKdError

LISTED = 10  # names listed in an error before "and N more"
_ARCHIVE = re.compile(r".*\.ark:\d+$")


def read_data_dir(folder: Path, root: Path | None = None) -> list[Utterance]:
    """Read a data directory; utterances without a line in ``text`` get an empty transcript.

    Args:
        folder: the data directory.
        root: what relative audio paths are relative to; None: the data directory.

    Raises:
        AsrKdError: a file is missing or malformed, ``wav.scp`` holds a command (it is never run) or a Kaldi
            archive, or an utterance lacks its speaker or its audio.
    """
    audio = _read_recordings(folder / "wav.scp", root or folder)
    speakers = _read_table(folder / "utt2spk")
    texts = _read_table(folder / "text", empty_allowed=True)
    if (folder / "segments").exists():
        pieces, listed = _read_segments(folder / "segments"), "segments"
    else:
        pieces, listed = {name: (name, 0.0, None) for name in audio}, "wav.scp"
    _refuse(folder, f"utterances in text but not in {listed}", texts.keys() - pieces.keys())
    _refuse(folder, "utterances without a speaker in utt2spk", pieces.keys() - speakers.keys())
    _refuse(
        folder, "recordings in segments but not in wav.scp", {p[0] for p in pieces.values()} - audio.keys()
    )
    return [
        Utterance(
            name, speakers[name], audio[recording], " ".join(texts.get(name, "").split()), start, duration
        )
        for name, (recording, start, duration) in pieces.items()
    ]


def read_parts(root: Path, parts: PartsConfig) -> dict[str, list[Utterance]]:
    """Read the data directories ``<root>/<part>``; relative audio paths are relative to `root`.

    Raises:
        AsrKdError: as `read_data_dir`; where a directory is missing, lists those there are.
    """
    read: dict[str, list[Utterance]] = {}
    for part, value in vars(parts).items():
        for name in part_names(value or ""):
            if not (root / name / "wav.scp").is_file():
                known = sorted(path.parent.name for path in root.glob("*/wav.scp"))
                raise AsrKdError(
                    f"data.parts.{part}: {root / name} is no Kaldi data directory (it has no wav.scp); "
                    f"there are {', '.join(known) or 'none'}"
                )
            read.setdefault(part, []).extend(read_data_dir(root / name, root))
    return read


def write_data_dir(utterances: Iterable[Utterance], folder: Path) -> int:
    """Write a data directory that Kaldi's own tools accept.

    Kaldi wants utterance ids to begin with the speaker's name, so that one order sorts both: ids that do
    not are written as ``<speaker>-<id>``.

    Returns:
        How many ids were not written as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {_speaker_first(utterance): utterance for utterance in utterances}
    audio_uses = Counter(utterance.audio for utterance in named.values())
    whole = all(audio_uses[utterance.audio] == 1 and _is_whole(utterance) for utterance in named.values())
    recordings = {name: name for name in named} if whole else _recording_names(named)
    tables = {
        "text": {name: utterance.text for name, utterance in named.items()},
        "utt2spk": {name: utterance.speaker for name, utterance in named.items()},
        "wav.scp": {recordings[name]: utterance.audio for name, utterance in named.items()},
        "spk2utt": _by_speaker(named),
    }
    if not whole:
        tables["segments"] = {
            name: f"{recordings[name]} {utterance.start_seconds:.6f} {_end_seconds(utterance):.6f}"
            for name, utterance in named.items()
        }
    for file, table in tables.items():
        # Kaldi sorts by bytes, as `LC_ALL=C sort` does.
        lines = sorted(f"{key} {value}".rstrip() for key, value in table.items())
        lines.sort(key=lambda line: line.split(" ")[0].encode())
        (folder / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return sum(name != utterance.id for name, utterance in named.items())


def _read_table(path: Path, empty_allowed: bool = False) -> dict[str, str]:
    """Lines of a key and the rest."""
    table: dict[str, str] = {}
    for line in read_lines(path):
        key, *rest = line.split(maxsplit=1)
        if not rest and not empty_allowed:
            raise AsrKdError(f"{path}: the line of {key!r} has nothing after it")
        if key in table:
            raise AsrKdError(f"{path}: {key!r} has two lines; delete one")
        table[key] = rest[0].strip() if rest else ""
    return table


def _read_recordings(path: Path, root: Path) -> dict[str, str]:
    recordings = {}
    for name, place in _read_table(path).items():
        if place.endswith("|"):
            raise AsrKdError(
                f"{path}: the audio of {name} is a command ({place}); commands are not run. "
                "Write its output to a file and name that file"
            )
        if _ARCHIVE.match(place):
            raise AsrKdError(
                f"{path}: the audio of {name} lies in a Kaldi archive ({place}); name an audio file"
            )
        recordings[name] = str((root / Path(place).expanduser()).absolute())
    return recordings


def _read_segments(path: Path) -> dict[str, tuple[str, float, float | None]]:
    """Utterance -> recording, start and duration in seconds (None: to the end, which Kaldi writes as -1)."""
    pieces: dict[str, tuple[str, float, float | None]] = {}
    for name, line in _read_table(path).items():
        try:
            recording, start, end = line.split()
            begin, finish = float(start), float(end)
        except ValueError:
            raise AsrKdError(f"{path}: the line of {name} is not `recording start end`: {line}") from None
        if not 0 <= begin < (LATEST_SECONDS if finish == -1 else finish) <= LATEST_SECONDS:
            raise AsrKdError(f"{path}: {name} begins at {begin} s and ends at {finish} s")
        pieces[name] = (recording, begin, None if finish == -1 else finish - begin)
    return pieces


def _refuse(folder: Path, what: str, names: Iterable[str]) -> None:
    ordered = sorted(names)
    if ordered:
        more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
        raise AsrKdError(f"{folder}: {what}: {', '.join(ordered[:LISTED])}{more}")


def _speaker_first(utterance: Utterance) -> str:
    if utterance.id.startswith(utterance.speaker):
        return utterance.id
    return f"{utterance.speaker}-{utterance.id}"


def _is_whole(utterance: Utterance) -> bool:
    if utterance.start_seconds > 0 or utterance.duration_seconds is None:
        return utterance.start_seconds == 0
    return audio_info(utterance.audio).seconds - utterance.duration_seconds < MAX_OVERSHOOT_SECONDS


def _end_seconds(utterance: Utterance) -> float:
    if utterance.duration_seconds is None:
        return audio_info(utterance.audio).seconds
    return utterance.start_seconds + utterance.duration_seconds


def _recording_names(named: dict[str, Utterance]) -> dict[str, str]:
    """A recording name for each utterance: its file's name, numbered where two folders share one."""
    names: dict[str, str] = {}
    for audio in sorted({utterance.audio for utterance in named.values()}):
        stem = "_".join(Path(audio).stem.split())
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        names[audio] = next(name for name in itertools.chain([stem], numbered) if name not in names.values())
    return {name: names[utterance.audio] for name, utterance in named.items()}


def _by_speaker(named: dict[str, Utterance]) -> dict[str, str]:
    speakers: dict[str, list[str]] = {}
    for name in sorted(named):
        speakers.setdefault(named[name].speaker, []).append(name)
    return {speaker: " ".join(names) for speaker, names in speakers.items()}
