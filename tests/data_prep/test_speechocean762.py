from pathlib import Path

import pytest

from asr_kd.config import DataConfig
from asr_kd.errors import AsrKdError
from data_prep.speechocean762 import prepare


def test_paths_are_relative_to_the_root_and_stress_is_removed(tmp_path: Path):
    for part, name in (("train", "000010011"), ("test", "000030012")):
        (tmp_path / part).mkdir()
        (tmp_path / part / "wav.scp").write_text(f"{name}\tWAVE/SPEAKER{name[:5]}/{name}.WAV\n")
        (tmp_path / part / "utt2spk").write_text(f"{name} {name[:5]}\n")
        (tmp_path / part / "text").write_text(f"{name}\tWE CALL IT BEAR\n")
    (tmp_path / "resource").mkdir()
    (tmp_path / "resource" / "lexicon.txt").write_text("A\tAH0\nA\tEY0\nIT\tIH0 T\n")
    corpus = prepare(DataConfig(source=str(tmp_path)), tmp_path)
    utterance = corpus.parts["test"][0]
    assert utterance.audio == str(tmp_path / "WAVE" / "SPEAKER00003" / "000030012.WAV")
    assert (utterance.speaker, utterance.text) == ("00003", "WE CALL IT BEAR")
    assert corpus.lexicon and corpus.lexicon.entries == {"A": [("AH",), ("EY",)], "IT": [("IH", "T")]}
    assert corpus.whole_lexicon


def test_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(AsrKdError, match=r"holds resource/lexicon\.txt"):
        prepare(DataConfig(source=str(tmp_path)), tmp_path)


def test_the_real_corpus(corpora: Path, tmp_path: Path):
    corpus = prepare(DataConfig(source=str(corpora / "speechocean762")), tmp_path)
    train, test = corpus.parts["train"], corpus.parts["test"]
    assert (len(train), len({u.speaker for u in train})) == (2000, 100)
    assert (len(test), len({u.speaker for u in test}), sum(len(u.words) for u in test)) == (500, 25, 3068)
    assert all(Path(u.audio).is_file() and u.words for u in train + test)
    assert corpus.lexicon and all(word in corpus.lexicon for u in train + test for word in u.words)
