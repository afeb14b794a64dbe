"""Recognised words as text, JSON lines or subtitles."""

import json
from collections.abc import Callable, Sequence

from asr_kd.runtime.recogniser import Segment, Word

# A subtitle is read in one glance: two lines, and no longer than a few seconds.
SUBTITLE_WORDS = 14
SUBTITLE_SECONDS = 6.0


def as_text(name: str, segments: Sequence[Segment]) -> str:
    """The words in one line."""
    return " ".join(segment.text for segment in segments) + "\n"


def as_named_text(name: str, segments: Sequence[Segment]) -> str:
    """The file's name, a tabulator, the words."""
    return f"{name}\t{as_text(name, segments)}"


def as_json(name: str, segments: Sequence[Segment]) -> str:
    """One JSON object in one line: file, text, words with times in seconds and confidences."""
    words = [
        {
            "word": word.text,
            "start": word.start_seconds,
            "end": word.end_seconds,
            "confidence": word.confidence,
        }
        for segment in segments
        for word in segment.words
    ]
    content = {"file": name, "text": as_text(name, segments).strip(), "words": words}
    return json.dumps(content, ensure_ascii=False) + "\n"


def as_srt(name: str, segments: Sequence[Segment]) -> str:
    """SubRip."""
    blocks = (
        f"{number}\n{_clock(words[0].start_seconds, ',')} --> {_clock(words[-1].end_seconds, ',')}\n"
        f"{' '.join(word.text for word in words)}\n"
        for number, words in enumerate(_subtitles(segments), start=1)
    )
    return "\n".join(blocks)


def as_vtt(name: str, segments: Sequence[Segment]) -> str:
    """WebVTT."""
    blocks = (
        f"\n{_clock(words[0].start_seconds, '.')} --> {_clock(words[-1].end_seconds, '.')}\n"
        f"{' '.join(word.text for word in words)}\n"
        for words in _subtitles(segments)
    )
    return "WEBVTT\n" + "".join(blocks)


FORMATS: dict[str, Callable[[str, Sequence[Segment]], str]] = {
    "text": as_text,
    "json": as_json,
    "srt": as_srt,
    "vtt": as_vtt,
}


def _subtitles(segments: Sequence[Segment]) -> list[list[Word]]:
    found: list[list[Word]] = []
    for segment in segments:
        found.append([])
        for word in segment.words:
            full = len(found[-1]) >= SUBTITLE_WORDS or (
                found[-1] and word.end_seconds - found[-1][0].start_seconds > SUBTITLE_SECONDS
            )
            if full:
                found.append([])
            found[-1].append(word)
    return found


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
