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
    for line in ('{"id": "x"}', "not json"):
        with (tmp_path / "a.jsonl").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(AsrKdError, match=r"a\.jsonl:2"):
            read_manifest(tmp_path / "a.jsonl")
