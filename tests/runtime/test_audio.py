import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.errors import AsrKdError
from asr_kd.runtime.audio import find_audio, read_blocks, read_raw
from tests.runtime.conftest import noise


def read(path: Path, rate: int = 16000) -> np.ndarray:
    return np.concatenate(list(read_blocks(str(path), rate)))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_formats_and_channels(tmp_path: Path, suffix: str) -> None:
    samples = noise(2.5)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), 16000)
    found = read(path)
    assert found.dtype == np.float32
    assert len(found) == len(samples)
    error = np.sqrt(np.mean(np.square(found - 0.75 * samples)))
    assert error < (1e-4 if suffix != "ogg" else 0.05)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_other_rates_are_converted(tmp_path: Path, rate: int) -> None:
    places = np.arange(round(2.3 * rate)) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * places), rate)
    found = read(tmp_path / "a.wav")
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16000)
    assert abs(len(found) - 2.3 * 16000) <= 2
    assert np.abs(found - wanted)[500:-500].max() < 1e-2


def test_raw_bytes_may_come_in_any_pieces() -> None:
    class Trickle(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return super().read1(min(size or 0, 333))

    samples = (noise(0.5) * 32768).astype("<i2")
    found = np.concatenate(list(read_raw(Trickle(samples.tobytes()), 16000, 16000, 0.1)))
    np.testing.assert_array_equal(found, samples.astype(np.float32) / 32768)


def test_folders_are_searched(tmp_path: Path) -> None:
    for name in ("b.wav", "in/a.flac", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_audio([str(tmp_path), "-"]) == [str(tmp_path / "b.wav"), str(tmp_path / "in/a.flac"), "-"]
    with pytest.raises(AsrKdError, match="no such file"):
        find_audio(["nowhere.wav"])
    with pytest.raises(AsrKdError, match="no audio in this folder"):
        (tmp_path / "empty").mkdir()
        find_audio([str(tmp_path / "empty")])


def test_what_is_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(AsrKdError, match=r"a.wav is not audio"):
        read(tmp_path / "a.wav")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(AsrKdError, match="not finite"):
        read(tmp_path / "nan.wav")
    with pytest.raises(AsrKdError, match=r"none\.wav cannot be read \(No such file"):
        read(tmp_path / "none.wav")


def test_headers_are_not_believed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.5), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = (2_000_000_000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AsrKdError, match=r"a\.wav claims 2000000000 hertz"):
        read(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.flac", noise(3.0), 16000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(AsrKdError, match=r"a\.flac.*(damaged|truncated)"):
        read(tmp_path / "a.flac")


def test_a_file_without_samples_is_no_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    assert len(read(tmp_path / "a.wav")) == 0


def test_names_that_cannot_be_printed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.wav").touch()
    with pytest.raises(AsrKdError, match="the name of this file is not UTF-8"):
        find_audio([str(tmp_path)])
