import json
from pathlib import Path

import pytest

from asr_kd.corpus.manifest import Utterance, read_manifest, write_manifest
from asr_kd.errors import AsrKdError


def test_manifests_are_sorted_and_read_back(tmp_path: Path):
    late, early = Utterance("b", "s2", "/b.wav", "DÉJÀ VU"), Utterance("c", "s1", "/c.wav", "", 1.5, 0.25)
    write_manifest(tmp_path / "a.jsonl", [late, early])
    assert read_manifest(tmp_path / "a.jsonl") == [early, late]
    assert late.words == ["DÉJÀ", "VU"] and early.words == []


def test_a_bad_line_is_named(tmp_path: Path):
    write_manifest(tmp_path / "a.jsonl", [Utterance("b", "s", "/b.wav", "A")])
    fields = {"id": "x", "speaker": "s", "audio": "a", "text": ""}
    wrong = [{"id": 5}, {"speaker": None}, {"start_seconds": "1"}, {"start_seconds": -1.0}, {"more": 1}]
    wrong += [{"duration_seconds": float("nan")}, {"duration_seconds": True}, {"id": "\ud800"}]
    for line in (
        '{"id": "x"}',
        "not json",
        "[]",
        "[" * 100_000,
        *(json.dumps(fields | one) for one in wrong),
    ):
        write_manifest(tmp_path / "a.jsonl", [Utterance("b", "s", "/b.wav", "A")])
        with (tmp_path / "a.jsonl").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(AsrKdError, match=r"a\.jsonl:2"):
            read_manifest(tmp_path / "a.jsonl")


def test_separators_that_are_no_ends_of_lines_are_kept(tmp_path: Path):
    utterance = Utterance("b", "s", "/a\u2028b\x85.wav", "A")
    write_manifest(tmp_path / "a.jsonl", [utterance])
    assert read_manifest(tmp_path / "a.jsonl") == [utterance]
