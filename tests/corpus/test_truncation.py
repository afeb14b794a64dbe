from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.corpus.truncation import truncation

FORMATS = {
    "a.wav": {},
    "a.sph": {"format": "NIST", "subtype": "PCM_16"},
    "a.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("left", [0.97, 0.5, 0.3])
def test_a_shortened_file_is_found_and_a_whole_one_is_not(tmp_path: Path, name: str, left: float):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000).astype(np.float32)
    soundfile.write(tmp_path / name, noise, 16000, **FORMATS[name])
    assert truncation(tmp_path / name) is None
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * left)])
    assert truncation(tmp_path / name)


def test_half_a_sample_is_found(tmp_path: Path):
    (tmp_path / "a.raw").write_bytes(bytes(201))
    assert truncation(tmp_path / "a.raw")
    (tmp_path / "a.raw").write_bytes(bytes(200))
    assert truncation(tmp_path / "a.raw") is None


def test_a_streamed_wav_of_unknown_length_is_no_truncated_one(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100, dtype=np.float32), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert truncation(tmp_path / "a.wav") is None


def test_an_ogg_page_that_ends_the_file_but_not_the_stream_is_found(tmp_path: Path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160000).astype(np.float32)
    soundfile.write(tmp_path / "a.opus", noise, 16000, format="OGG", subtype="OPUS")
    content = (tmp_path / "a.opus").read_bytes()
    (tmp_path / "a.opus").write_bytes(content[: content.rindex(b"OggS")])
    assert truncation(tmp_path / "a.opus") == "its last page is missing"
