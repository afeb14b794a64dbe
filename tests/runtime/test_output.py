import json

from asr_kd.runtime import Segment, Word
from asr_kd.runtime.output import SUBTITLE_WORDS, as_json, as_named_text, as_srt, as_text, as_vtt

SEGMENTS = [
    Segment((Word("HELLO", 0.5, 1.0, 0.9), Word("WORLD", 1.0, 1.5, 0.8))),
    Segment((Word("AGAIN", 3723.004, 3724.5, 0.5),)),
]


def test_text() -> None:
    assert as_text("a.wav", SEGMENTS) == "HELLO WORLD AGAIN\n"
    assert as_named_text("a.wav", []) == "a.wav\t\n"


def test_json() -> None:
    content = json.loads(as_json("a.wav", SEGMENTS))
    assert content["text"] == "HELLO WORLD AGAIN"
    assert content["words"][1] == {"word": "WORLD", "start": 1.0, "end": 1.5, "confidence": 0.8}


def test_subtitles() -> None:
    assert as_srt("a.wav", SEGMENTS) == (
        "1\n00:00:00,500 --> 00:00:01,500\nHELLO WORLD\n\n2\n01:02:03,004 --> 01:02:04,500\nAGAIN\n"
    )
    assert as_vtt("a.wav", SEGMENTS).startswith(
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHELLO WORLD\n\n01:02"
    )
    assert as_vtt("a.wav", []) == "WEBVTT\n"


def test_long_segments_are_several_subtitles() -> None:
    fast = tuple(Word("W", place / 10, place / 10 + 0.1, 1.0) for place in range(2 * SUBTITLE_WORDS + 1))
    slow = tuple(Word("W", 4.0 * place, 4.0 * place + 1, 1.0) for place in range(4))
    assert as_srt("a", [Segment(fast)]).count("-->") == 3
    assert as_srt("a", [Segment(slow)]).count("-->") == 2
