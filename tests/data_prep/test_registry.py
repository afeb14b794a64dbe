from pathlib import Path

import pytest

import data_prep
from asr_kd.config import DataConfig
from asr_kd.errors import AsrKdError
from data_prep import kaldi_dir


def test_every_script_is_found_by_name():
    assert {"an4", "kaldi_dir", "librispeech_small", "speechocean762"} <= set(data_prep.known())
    for name in data_prep.known():
        assert callable(data_prep.find_frames(name) if data_prep.gives_frames(name) else data_prep.find(name))
    with pytest.raises(AsrKdError, match="mnist gives labelled frames"):
        data_prep.find("mnist")


def test_an_unknown_corpus_lists_those_there_are():
    with pytest.raises(AsrKdError, match=r"data\.corpus=timit: .*there are an4, kaldi_dir"):
        data_prep.find("timit")


def test_kaldi_dir_needs_a_source(tmp_path: Path):
    with pytest.raises(AsrKdError, match=r"data\.source is not set"):
        kaldi_dir.prepare(DataConfig(), tmp_path)
    with pytest.raises(AsrKdError, match="no such folder"):
        kaldi_dir.prepare(DataConfig(source=str(tmp_path / "none")), tmp_path)
