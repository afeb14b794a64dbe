from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.config import PartsConfig
from asr_kd.corpus.kaldi import read_data_dir, read_parts, write_data_dir
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(content, encoding="utf-8")
    return folder


def test_whole_recordings(tmp_path: Path):
    folder = write(
        tmp_path / "train",
        wav_scp="s1-a audio/a b.wav\ns1-b /abs/b.flac\n",
        utt2spk="s1-a s1\ns1-b s1\n",
        text="s1-a HELLO  WORLD\ns1-b\n",
    )
    assert read_data_dir(folder, tmp_path) == [
        Utterance("s1-a", "s1", str(tmp_path / "audio" / "a b.wav"), "HELLO WORLD"),
        Utterance("s1-b", "s1", "/abs/b.flac", ""),
    ]
    assert read_data_dir(folder)[0].audio == str(folder / "audio" / "a b.wav")


def test_files_of_other_systems(tmp_path: Path):
    folder = write(
        tmp_path,
        wav_scp="\ufeffu a.wav\r\nv b.wav\r\n",
        utt2spk="\ufeffu s\r\nv t\r\n",
        text="u A  B\r\nv\r\n",
    )
    assert read_data_dir(folder) == [
        Utterance("u", "s", str(tmp_path / "a.wav"), "A B"),
        Utterance("v", "t", str(tmp_path / "b.wav"), ""),
    ]
    (folder / "text").write_bytes(b"u A\nv \xc9\n")
    with pytest.raises(AsrKdError, match="text:2 is not UTF-8"):
        read_data_dir(folder)


def test_segments(tmp_path: Path):
    folder = write(
        tmp_path,
        wav_scp="call /c.wav\n",
        segments="s1-a call 0.5 2\ns2-b call 2.25 -1\n",
        utt2spk="s1-a s1\ns2-b s2\n",
        text="s1-a A\ns2-b B\n",
    )
    assert read_data_dir(folder) == [
        Utterance("s1-a", "s1", "/c.wav", "A", 0.5, 1.5),
        Utterance("s2-b", "s2", "/c.wav", "B", 2.25, None),
    ]


GOOD = {"wav_scp": "u a.wav\n", "utt2spk": "u s\n", "text": "u A\n"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wav_scp": "u touch {} && cat a.wav |\n"}, "audio of u is a command"),
        ({"wav_scp": "u /x/raw.ark:123\n"}, "Kaldi archive"),
        ({"wav_scp": "u\n"}, "line of 'u' has nothing"),
        ({"wav_scp": "u a.wav\nu b.wav\n"}, "'u' has two lines"),
        ({"utt2spk": "v s\n"}, "without a speaker in utt2spk: u"),
        ({"text": "u A\nv B\n"}, "in text but not in wav.scp: v"),
        ({"segments": "v u 0 1\n", "utt2spk": "v s\n"}, "in text but not in segments: u"),
        ({"segments": "u rec 0 1\n"}, "in segments but not in wav.scp: rec"),
        ({"segments": "u u 1 0.5\n"}, "begins at 1.0 s and ends at 0.5 s"),
        ({"segments": "u u 1\n"}, "not `recording start end`"),
        ({"segments": "u u 1 inf\n"}, "begins at 1.0 s and ends at inf s"),
        ({"segments": "u u nan -1\n"}, "begins at nan s"),
        ({"segments": "u u -3 -1\n"}, "begins at -3.0 s"),
    ],
)
def test_malformed_directories_are_refused_by_name(tmp_path: Path, change: dict, message: str):
    ran = tmp_path / "ran"
    folder = write(tmp_path / "d", **{**GOOD, **{name: text.format(ran) for name, text in change.items()}})
    with pytest.raises(AsrKdError, match=message):
        read_data_dir(folder)
    assert not ran.exists()


def test_a_missing_directory_lists_those_there_are(tmp_path: Path):
    write(tmp_path / "train", **GOOD)
    write(tmp_path / "more", wav_scp="v b.wav\n", utt2spk="v t\n", text="v B\n")
    parts = read_parts(tmp_path, PartsConfig(train="train+more", dev=None, test="more"))
    assert [utterance.id for utterance in parts["train"]] == ["u", "v"]
    assert parts["train"][1].audio == str(tmp_path / "b.wav") and "dev" not in parts
    with pytest.raises(AsrKdError, match=r"data\.parts\.test: .*eval is no Kaldi.*there are more, train"):
        read_parts(tmp_path, PartsConfig(test="eval"))


def audio(path: Path, seconds: float) -> str:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.zeros(int(16000 * seconds), dtype=np.float32), 16000)
    return str(path)


def test_whole_utterances_are_written_without_segments(tmp_path: Path):
    utterances = [
        Utterance("s1-b", "s1", audio(tmp_path / "b.wav", 1), "B", 0.0, 1.0),
        Utterance("s1-a", "s1", audio(tmp_path / "a.wav", 1), "A A"),
        Utterance("x", "s2", audio(tmp_path / "x.wav", 1), "X"),
    ]
    assert write_data_dir(utterances, tmp_path / "out") == 1
    assert not (tmp_path / "out" / "segments").exists()
    assert (tmp_path / "out" / "utt2spk").read_text() == "s1-a s1\ns1-b s1\ns2-x s2\n"
    assert (tmp_path / "out" / "spk2utt").read_text() == "s1 s1-a s1-b\ns2 s2-x\n"
    assert read_data_dir(tmp_path / "out")[:2] == [
        Utterance("s1-a", "s1", str(tmp_path / "a.wav"), "A A"),
        Utterance("s1-b", "s1", str(tmp_path / "b.wav"), "B"),
    ]


@pytest.mark.parametrize(("start", "duration"), [(0.5, 0.25), (0.0, 0.25)])
def test_pieces_come_back_as_pieces(tmp_path: Path, start: float, duration: float):
    utterances = [
        Utterance("s1-a", "s1", audio(tmp_path / "1" / "a.wav", 1), "A", start, duration),
        Utterance("s1-b", "s1", audio(tmp_path / "2" / "a.wav", 2), "B"),
    ]
    write_data_dir(utterances, tmp_path / "out")
    read = {utterance.id: utterance for utterance in read_data_dir(tmp_path / "out")}
    assert read["s1-a"] == utterances[0]
    assert (read["s1-b"].audio, read["s1-b"].duration_seconds) == (utterances[1].audio, 2.0)
