from pathlib import Path

import pytest

from asr_kd.config import DataConfig, PartsConfig
from asr_kd.errors import AsrKdError
from data_prep.an4 import prepare


def write_an4(root: Path) -> Path:
    (root / "etc").mkdir(parents=True)
    for name in (
        "an4_clstk/fash/a1-fash-b.raw",
        "an4_clstk/fash/a2-fash-b.sph",
        "an4test_clstk/menk/a1-menk-b.raw",
    ):
        (root / "wav" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "wav" / name).write_bytes(bytes(20))
    for name, content in {
        "an4_train.fileids": "an4_clstk/fash/a1-fash-b\nan4_clstk/fash/a2-fash-b\nan4_clstk/fash/a3-fash-b\n",
        "an4_train.transcription": "<s> YES  NO </s> (a1-fash-b)\n<s> GO </s> (a2-fash-b)\n",
        "an4_test.fileids": "an4test_clstk/menk/a1-menk-b\n",
        "an4_test.transcription": "RUBOUT G (a1-menk-b)\n",
        "an4.dic": "A  AH\nA(2)  EY\n",
        "an4.ug.lm": "\\data\\\n",
    }.items():
        (root / "etc" / name).write_text(content)
    return root


def test_the_layout_of_the_distribution(tmp_path: Path):
    root = write_an4(tmp_path / "an4")
    corpus = prepare(DataConfig(corpus="an4", source=str(tmp_path)), tmp_path / "downloads")
    train, test = corpus.parts["train"], corpus.parts["test"]
    assert [(u.id, u.speaker, u.text) for u in train] == [
        ("a1-fash-b", "fash", "YES NO"),
        ("a2-fash-b", "fash", "GO"),
        ("a3-fash-b", "fash", ""),
    ]
    assert [Path(u.audio).suffix for u in train] == [".raw", ".sph", ""]
    assert (test[0].id, test[0].speaker, test[0].text) == ("a1-menk-b", "menk", "RUBOUT G")
    assert corpus.lexicon and corpus.lexicon.entries == {"A": [("AH",), ("EY",)]} and corpus.whole_lexicon
    assert corpus.arpas == {"ug": root / "etc" / "an4.ug.lm"} and "dev" not in corpus.parts


def test_parts_are_joined_with_plus(tmp_path: Path):
    write_an4(tmp_path)
    parts = PartsConfig(train="train+test", dev="test")
    corpus = prepare(DataConfig(source=str(tmp_path), parts=parts), tmp_path)
    assert [u.id for u in corpus.parts["train"]] == ["a1-fash-b", "a2-fash-b", "a3-fash-b", "a1-menk-b"]
    assert [u.id for u in corpus.parts["dev"]] == ["a1-menk-b"]


def test_other_parts_are_refused_with_those_there_are(tmp_path: Path):
    write_an4(tmp_path)
    with pytest.raises(AsrKdError, match=r"an4_dev\.fileids is missing; .* test, train"):
        prepare(DataConfig(source=str(tmp_path), parts=PartsConfig(dev="dev")), tmp_path)


def test_a_line_that_is_no_transcript_is_named(tmp_path: Path):
    (write_an4(tmp_path) / "etc" / "an4_test.transcription").write_text("\nRUBOUT G\n")
    with pytest.raises(AsrKdError, match=r"an4_test\.transcription:2"):
        prepare(DataConfig(source=str(tmp_path)), tmp_path)


def test_a_missing_dictionary_is_named_and_a_missing_language_model_left_out(tmp_path: Path):
    (write_an4(tmp_path) / "etc" / "an4.ug.lm").unlink()
    assert prepare(DataConfig(source=str(tmp_path)), tmp_path).arpas == {}
    (tmp_path / "etc" / "an4.dic").unlink()
    with pytest.raises(AsrKdError, match=r"an4\.dic is missing"):
        prepare(DataConfig(source=str(tmp_path)), tmp_path)


def test_the_real_corpus(corpora: Path, tmp_path: Path):
    corpus = prepare(DataConfig(source=str(corpora / "an4")), tmp_path)
    train, test = corpus.parts["train"], corpus.parts["test"]
    assert (len(train), len({u.speaker for u in train})) == (948, 74)
    assert (len(test), sum(len(u.words) for u in test)) == (130, 773)
    assert all(Path(u.audio).is_file() and u.words for u in train + test)
    assert corpus.lexicon and all(word in corpus.lexicon for u in train + test for word in u.words)
