from pathlib import Path

import pytest

from asr_kd.config import DataConfig, PartsConfig
from asr_kd.errors import AsrKdError
from data_prep import librispeech_small
from data_prep.librispeech_small import ARPA, LEXICON, prepare


def write_part(root: Path, part: str, speaker: str = "19", extension: str = "flac") -> None:
    chapter = root / "LibriSpeech" / part / speaker / "198"
    chapter.mkdir(parents=True)
    name = f"{speaker}-198"
    (chapter / f"{name}.trans.txt").write_text(f"{name}-0000 CHAPTER ONE\n{name}-0001 IT'S\n")
    (chapter / f"{name}-0000.{extension}").write_bytes(b"x")


def config(source: Path | None, **parts: str) -> DataConfig:
    return DataConfig(source=str(source) if source else None, parts=PartsConfig(**parts))


def test_parts_are_joined_and_any_extension_is_found(tmp_path: Path):
    write_part(tmp_path, "a", "19")
    write_part(tmp_path, "b", "20", "opus")
    write_part(tmp_path, "c", "21")
    corpus = prepare(config(tmp_path, train="a+b", test="c"), tmp_path / "downloads")
    assert [(u.id, u.speaker, u.text) for u in corpus.parts["train"]] == [
        ("19-198-0000", "19", "CHAPTER ONE"),
        ("19-198-0001", "19", "IT'S"),
        ("20-198-0000", "20", "CHAPTER ONE"),
        ("20-198-0001", "20", "IT'S"),
    ]
    assert [Path(u.audio).suffix for u in corpus.parts["train"]] == [".flac", "", ".opus", ""]
    assert corpus.lexicon is None and not corpus.whole_lexicon and not corpus.arpas
    assert "dev" not in corpus.parts
    inside = prepare(config(tmp_path / "LibriSpeech", train="a", dev="b", test="c"), tmp_path)
    assert {part: len(utterances) for part, utterances in inside.parts.items()} == {
        "train": 2,
        "dev": 2,
        "test": 2,
    }


def test_a_missing_part_lists_those_there_are(tmp_path: Path):
    write_part(tmp_path, "a")
    (tmp_path / "LibriSpeech" / "unlabelled" / "1" / "2").mkdir(parents=True)
    with pytest.raises(
        AsrKdError, match=r"data\.parts\.train: there is no part 'train-clean-5'.*there are a$"
    ):
        prepare(config(tmp_path, train="train-clean-5", test="a"), tmp_path)
    with pytest.raises(AsrKdError, match="no such folder"):
        prepare(config(tmp_path / "none"), tmp_path)


def test_lexicon_and_language_model_beside_the_audio_are_used(tmp_path: Path):
    write_part(tmp_path, "a")
    (tmp_path / LEXICON.name).write_text("CHAPTER\tCH AE1 P T ER0\n")
    (tmp_path / ARPA.name).write_bytes(b"")
    corpus = prepare(config(tmp_path, train="a", test="a"), tmp_path)
    assert corpus.lexicon and corpus.lexicon.entries == {"CHAPTER": [("CH", "AE", "P", "T", "ER")]}
    assert corpus.arpas == {"tgsmall": tmp_path / ARPA.name}
    given = config(tmp_path, train="a", test="a")
    given.lexicon = "mine.txt"
    assert prepare(given, tmp_path).lexicon is None


def test_without_a_source_what_is_needed_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fake_fetch(remote, folder):
        path = folder / remote.name
        path.write_text("A AH0\n")
        return path

    def fake_archive(remote, folder):
        part = remote.name.removesuffix(".tar.gz")
        write_part(folder / part, part, part[-1])
        return folder / part

    monkeypatch.setattr(librispeech_small, "fetch", fake_fetch)
    monkeypatch.setattr(librispeech_small, "fetch_archive", fake_archive)
    corpus = prepare(config(None, train="train-clean-5", test="dev-clean-2"), tmp_path)
    assert [u.speaker for u in corpus.parts["test"]] == ["2", "2"]
    assert corpus.lexicon and set(corpus.arpas) == {"tgsmall"}
    with pytest.raises(
        AsrKdError, match=r"no part 'train' that can be downloaded; there are dev-clean-2, train-c"
    ):
        prepare(config(None, train="train", test="dev-clean-2"), tmp_path / "other")


def test_the_real_slice(corpora: Path, tmp_path: Path):
    slice_config = config(corpora / "librispeech_slice", train="train-clean-100", test="train-clean-100")
    utterances = prepare(slice_config, tmp_path).parts["train"]
    assert len(utterances) == 106 and {u.speaker for u in utterances} == {"26", "27"}
    assert all(Path(u.audio).is_file() and u.words for u in utterances)


def test_the_real_development_corpus(corpora: Path, tmp_path: Path):
    corpus = prepare(config(corpora / "librispeech", train="train-small", test="test-small"), tmp_path)
    train, test = corpus.parts["train"], corpus.parts["test"]
    assert (len(train), len({u.speaker for u in train})) == (1882, 29)
    assert (len(test), sum(len(u.words) for u in test)) == (352, 6775)
