import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from asr_kd import cli
from tests.runtime.conftest import noise


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", noise(1.0 + number, number), 16000, subtype="FLOAT")
    return folder


def transcribe(model: Path, *arguments: object) -> int:
    return cli.main(["transcribe", "--model", str(model), *map(str, arguments)])


def test_files_in_processes_are_files_in_turn(
    model_folder: Path, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(model_folder, audio) == 0
    one = capsys.readouterr().out
    assert transcribe(model_folder, audio, "--jobs", 2) == 0
    assert capsys.readouterr().out == one
    assert [line.split("\t")[0] for line in one.splitlines()] == [str(audio / f"{n}.wav") for n in range(3)]


def test_a_stream_gives_the_words_of_the_file(
    model_folder: Path, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe(model_folder, audio / "2.wav")
    whole = capsys.readouterr().out
    assert transcribe(model_folder, audio / "2.wav", "--stream") == 0
    assert capsys.readouterr().out.split() == whole.split()
    assert whole.split()


def test_raw_samples_of_standard_input_are_a_stream(model_folder: Path, audio: Path) -> None:
    samples, _ = soundfile.read(audio / "1.wav", dtype="int16")
    command = [sys.executable, "-m", "asr_kd", "transcribe", "--model", str(model_folder), "--stream"]
    command += ["--raw", "16000", "-"]
    found = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True, timeout=120)
    assert set(found.stdout.decode().split()) <= {"A", "B"}
    assert found.stdout


def test_one_file_each(model_folder: Path, audio: Path, tmp_path: Path) -> None:
    assert transcribe(model_folder, audio, "--format", "json", "--output", tmp_path / "out") == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["0.jsonl", "1.jsonl", "2.jsonl"]
    content = json.loads((tmp_path / "out" / "1.jsonl").read_text())
    assert content["file"] == str(audio / "1.wav")
    assert " ".join(word["word"] for word in content["words"]) == content["text"]


def test_standard_input(model_folder: Path, audio: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transcribe(model_folder, audio / "1.wav")
    wanted = capsys.readouterr().out
    command = [sys.executable, "-m", "asr_kd", "transcribe", "--model", str(model_folder), "-"]
    given = (audio / "1.wav").read_bytes()
    found = subprocess.run(command, input=given, capture_output=True, check=True, timeout=120)
    assert found.stdout.decode() == wanted


def test_mistakes_are_named(
    model_folder: Path, audio: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASR_KD_MODEL", raising=False)
    assert cli.main(["transcribe", str(audio)]) == 1
    assert "--model FOLDER" in capsys.readouterr().err
    assert transcribe(model_folder, audio, "--stream") == 1
    assert "--stream takes one file" in capsys.readouterr().err
    assert transcribe(model_folder, "-", "--stream") == 1
    assert "--stream - needs --raw HERTZ" in capsys.readouterr().err
    assert transcribe(audio, audio) == 1
    assert "not there or not complete" in capsys.readouterr().err


def test_the_runtime_needs_nothing_of_training() -> None:
    program = (
        "import sys, asr_kd.cli, asr_kd.runtime.transcribe, asr_kd.bench.fresh; "
        "heavy = {'torch', 'hydra', 'omegaconf', 'scipy', 'librosa', 'jiwer', 'matplotlib', 'onnx', "
        "'kaldi_hmm_gmm'} & set(sys.modules); print(heavy); sys.exit(bool(heavy))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("jobs", [1, 2])
def test_audio_that_cannot_be_read_ends_it_or_is_named_and_left_out(
    model_folder: Path, audio: Path, tmp_path: Path, jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    files = [audio / "0.wav", tmp_path / "bad.wav", audio / "1.wav"]
    assert transcribe(model_folder, *files, "--jobs", jobs) == 1
    found = capsys.readouterr()
    assert "bad.wav is not audio" in found.err and "1.wav" not in found.out
    assert transcribe(model_folder, *files, "--jobs", jobs, "--invalid", "skip") == 1
    found = capsys.readouterr()
    assert [line.split("\t")[0] for line in found.out.splitlines()] == [str(files[0]), str(files[2])]
    assert "bad.wav is not audio" in found.err and "1 of 3 files cannot be read" in found.err
