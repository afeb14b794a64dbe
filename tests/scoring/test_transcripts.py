from pathlib import Path

import pytest

from asr_kd.corpus.manifest import Utterance, write_manifest
from asr_kd.errors import AsrKdError
from asr_kd.scoring.transcripts import read_references, read_transcripts, write_transcripts


def test_round_trip_with_an_utterance_without_words(tmp_path: Path) -> None:
    transcripts = {"u2": ["ÉTÉ", "B"], "u1": []}
    write_transcripts(tmp_path / "test.txt", transcripts)
    assert (tmp_path / "test.txt").read_text(encoding="utf-8") == "u2 ÉTÉ B\nu1\n"
    assert read_transcripts(tmp_path / "test.txt") == transcripts


@pytest.mark.parametrize("text", ["u1 A\n\n", "u1 A\nu1 B\n"])
def test_a_bad_line_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dev.txt").write_text(text)
    with pytest.raises(AsrKdError, match=r"dev.txt:2"):
        read_transcripts(tmp_path / "dev.txt")


def test_references_of_a_manifest(tmp_path: Path) -> None:
    write_manifest(
        tmp_path / "dev.jsonl", [Utterance("u", "s", "/a.flac", "A B"), Utterance("v", "s", "/b.flac", "")]
    )
    assert read_references(tmp_path / "dev.jsonl") == {"u": ["A", "B"], "v": []}
