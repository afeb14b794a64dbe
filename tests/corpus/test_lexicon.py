from pathlib import Path

import pytest

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError


def test_variants_join_their_word(tmp_path: Path):
    (tmp_path / "lexicon.txt").write_text("A  AH0\nA(2) EY1\n\n(2) T UW1\nSO(L) S OW1\n", encoding="utf-8")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", strip_stress=True)
    assert lexicon.entries == {"A": [("AH",), ("EY",)], "(2)": [("T", "UW")], "SO(L)": [("S", "OW")]}


def test_what_is_written_is_read(tmp_path: Path):
    lexicon = Lexicon.from_mapping({"B": [["B", "IY"]], "A": [["AH"], ["EY"], ["AH"]]})
    lexicon.write(tmp_path / "lexicon.txt")
    assert (tmp_path / "lexicon.txt").read_text() == "A AH\nA EY\nB B IY\n"
    assert Lexicon.read(tmp_path / "lexicon.txt") == Lexicon.from_mapping(
        {"A": [["AH"], ["EY"]], "B": [["B", "IY"]]}
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(AsrKdError, match=r"lexicon\.txt is missing"):
        Lexicon.read(tmp_path / "lexicon.txt")
    (tmp_path / "lexicon.txt").write_bytes("A AH\nCAFÉ K AE F EY\n".encode("latin-1"))
    with pytest.raises(AsrKdError, match=r"lexicon\.txt:2 is not UTF-8"):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_files_of_other_systems_are_read(tmp_path: Path):
    (tmp_path / "lexicon.txt").write_bytes(b"\xef\xbb\xbfA AH\r\nB B IY\r\n")
    assert Lexicon.read(tmp_path / "lexicon.txt").entries == {"A": [("AH",)], "B": [("B", "IY")]}


def test_a_word_without_phones_is_named(tmp_path: Path):
    (tmp_path / "lexicon.txt").write_text("A AH\n\nBAD\n")
    with pytest.raises(AsrKdError, match=r"lexicon\.txt:3: the word 'BAD'"):
        Lexicon.read(tmp_path / "lexicon.txt")


def test_restricting_keeps_known_words_only():
    lexicon = Lexicon.from_mapping({"A": [["AH"]], "B": [["B", "IY"]]})
    assert lexicon.restricted(["B", "C"]).entries == {"B": [("B", "IY")]}
    assert lexicon.phones == ["AH", "B", "IY"]
