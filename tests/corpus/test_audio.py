from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.corpus.audio import audio_info, read_audio
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError


def tone(samples: int = 8000, rate: int = 16000, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


def utterance(path: Path, start: float = 0.0, duration: float | None = None) -> Utterance:
    return Utterance("u1", "s1", str(path), "A", start, duration)


@pytest.mark.parametrize(
    ("name", "settings", "tolerance"),
    [
        ("a.wav", {}, 1e-4),
        ("a.flac", {}, 1e-4),
        ("a.sph", {"format": "NIST", "subtype": "PCM_16"}, 1e-4),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}, 0.05),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 0.1),
        ("a.mp3", {"format": "MP3", "subtype": "MPEG_LAYER_III"}, None),
    ],
)
def test_every_format_gives_its_samples(tmp_path: Path, name: str, settings: dict, tolerance: float | None):
    soundfile.write(tmp_path / name, tone(), 16000, **settings)
    waveform = read_audio(utterance(tmp_path / name), 16000)
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert abs(len(waveform) - 8000) <= (0 if tolerance else 3000)  # MP3 pads to whole blocks
    if tolerance:
        np.testing.assert_allclose(waveform[2000:6000], tone()[2000:6000], atol=tolerance)
    assert audio_info(tmp_path / name) == (16000, len(waveform), 1)


def test_headerless_audio_is_big_endian(tmp_path: Path):
    expected = np.array([1, 256, -2, 32767], dtype=np.int16)
    (tmp_path / "a.raw").write_bytes(expected.astype(">i2").tobytes())
    waveform = read_audio(utterance(tmp_path / "a.raw"), 16000)
    np.testing.assert_array_equal(waveform * 32768, expected)


def test_segments_and_channels(tmp_path: Path):
    left, right = tone(), tone(hertz=1000.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    waveform = read_audio(utterance(tmp_path / "a.wav", start=0.1, duration=0.2), 16000)
    np.testing.assert_allclose(waveform, ((left + right) / 2)[1600:4800], atol=1e-7)


def test_a_rounded_end_is_cut_and_a_wrong_end_is_refused(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    assert len(read_audio(utterance(tmp_path / "a.wav", start=0.4, duration=0.11), 16000)) == 1600
    with pytest.raises(AsrKdError, match=r"u1.*a\.wav ends at 0\.50 s"):
        read_audio(utterance(tmp_path / "a.wav", start=0.4, duration=0.2), 16000)
    with pytest.raises(AsrKdError, match="no samples"):
        read_audio(utterance(tmp_path / "a.wav", start=0.5), 16000)


def test_other_sample_rates_are_refused_by_name_or_converted(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(4000, 8000), 8000)
    with pytest.raises(AsrKdError, match=r"u1.*a\.wav has 8000 hertz, not 16000; set data\.resample"):
        read_audio(utterance(tmp_path / "a.wav"), 16000)
    waveform = read_audio(utterance(tmp_path / "a.wav"), 16000, resample=True)
    assert len(waveform) == 8000
    np.testing.assert_allclose(waveform[1000:7000], tone()[1000:7000], atol=5e-3)


def test_broken_files_are_named(tmp_path: Path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(b"no audio at all" * 10)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    for name, message in {
        "none.wav": "is missing",
        "empty.wav": "is empty",
        "noise.wav": "not an audio file",
        "nan.wav": "not finite",
    }.items():
        with pytest.raises(AsrKdError, match=rf"u1.*{name}.*{message}"):
            read_audio(utterance(tmp_path / name), 16000)


def test_a_truncated_flac_is_refused(tmp_path: Path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.flac", noise, 16000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(AsrKdError, match=r"u1.*a\.flac is (truncated|damaged)"):
        read_audio(utterance(tmp_path / "a.flac"), 16000)


def refused(path: Path, message: str, rate: int = 16000) -> None:
    with pytest.raises(AsrKdError, match=rf"u1.*{path.name}.*{message}"):
        read_audio(utterance(path), rate, resample=True)


def altered(path: Path, place: int, content: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[place : place + len(content)] = content
    path.write_bytes(whole)
    return path


def test_a_header_cannot_ask_for_memory(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    refused(altered(tmp_path / "a.wav", 24, (2_000_000_000).to_bytes(4, "little")), "claims .* hertz")
    soundfile.write(tmp_path / "b.wav", np.zeros((100, 80)), 16000)
    refused(tmp_path / "b.wav", "claims 16000 hertz and 80 channels")
    # 34 minutes at 655,350 Hz would be 5 GB; there are 8,000 samples.
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    refused(altered(tmp_path / "a.flac", 22, (50_000_000).to_bytes(4, "big")), "truncated|damaged")
    soundfile.write(tmp_path / "b.flac", tone(), 16000)
    refused(altered(tmp_path / "b.flac", 22, bytes(4)), "does not say how long it is")


def test_ten_hours_are_refused_whole_and_read_in_pieces(tmp_path: Path):
    hours = tmp_path / "hours.wav"
    soundfile.write(hours, tone(16000), 16000, subtype="PCM_16")
    size = 10 * 3600 * 16000 * 2
    altered(hours, 4, (size + 36).to_bytes(4, "little"))
    altered(hours, 40, size.to_bytes(4, "little"))
    with hours.open("r+b") as file:
        file.truncate(size + 44)  # no room is taken by zeros
    refused(hours, "claims 36000 s, more than an hour")
    piece = read_audio(utterance(hours, 0.25, 0.5), 16000)
    np.testing.assert_allclose(piece, tone(16000)[4000:12000], atol=1e-4)
    assert not read_audio(utterance(hours, 35_999.0, 1.0), 16000).any()


def test_samples_that_no_spectrum_can_be_made_of_are_refused(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", 1e30 * tone(), 16000, subtype="FLOAT")
    refused(tmp_path / "a.wav", "far beyond full scale")
    soundfile.write(tmp_path / "a.wav", 32768 * tone(), 16000, subtype="FLOAT")  # whole numbers as floats
    assert read_audio(utterance(tmp_path / "a.wav"), 16000).max() > 10_000


def test_a_single_sample_may_be_lost_in_conversion(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.full(1, 0.5), 48000)
    refused(tmp_path / "a.wav", "too short", rate=8000)


def test_long_files_are_read_in_pieces_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    whole = read_audio(utterance(tmp_path / "a.wav"), 16000)
    monkeypatch.setattr("asr_kd.corpus.audio.READ_VALUES", 1000)
    np.testing.assert_array_equal(read_audio(utterance(tmp_path / "a.wav"), 16000), whole)
