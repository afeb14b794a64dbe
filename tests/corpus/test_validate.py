from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.validate import (
    Problem,
    check_audio,
    check_manifests,
    check_words,
    refuse,
    without,
)
from asr_kd.errors import AsrKdError


def noise(seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * rate)).astype(np.float32)


def speechlike(samples: int = 16000) -> np.ndarray:
    """Slowly varying, as speech is and bytes in the wrong order are not. ``(samples,)`` int16."""
    steps = np.random.default_rng(0).normal(0, 300, samples)
    return np.convolve(steps, np.ones(20), mode="same").astype(np.int16)


def write_broken(folder: Path) -> dict[str, str]:
    """Files that are broken in every way there is, with the kind of problem each should be named for."""
    soundfile.write(folder / "good.wav", noise(), 16000)
    soundfile.write(folder / "rate.wav", noise(rate=8000), 8000)
    soundfile.write(folder / "silent.flac", np.full(16000, 0.25), 16000)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(folder / "no_samples.wav", np.zeros(0), 16000)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not audio")
    for name, kind in {
        "short.wav": "WAV",
        "short.flac": "FLAC",
        "short.ogg": "OGG",
        "short.mp3": "MP3",
    }.items():
        soundfile.write(folder / name, noise(3), 16000, format=kind)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    speechlike().astype(">i2").tofile(folder / "good.raw")
    speechlike().astype("<i2").tofile(folder / "swapped.raw")
    kinds = dict.fromkeys(path.name for path in folder.iterdir() if not path.name.startswith("good"))
    return dict.fromkeys(kinds, "audio") | {"rate.wav": "sample rate", "silent.flac": "silent audio"}


def test_every_broken_file_is_named(tmp_path: Path):
    kinds = write_broken(tmp_path)
    names = [*kinds, "missing.wav", "good.wav", "good.raw", "past_the_end"]
    utterances = [Utterance(name, "s", str(tmp_path / name), "A") for name in names[:-1]]
    utterances.append(Utterance("past_the_end", "s", str(tmp_path / "good.wav"), "A", 0.5, 1.0))
    measured, problems = check_audio({"train": utterances, "test": []}, 16000, False, workers=2)
    found = {problem.utterance: problem.kind for problem in problems}
    assert found == {**kinds, "missing.wav": "audio", "past_the_end": "audio"}
    assert [problem.place for problem in problems] == sorted(problem.place for problem in problems)
    seconds = {utterance.id: utterance.duration_seconds for utterance in measured["train"]}
    assert seconds["good.wav"] == seconds["good.raw"] == 1.0 and seconds["nan.wav"] is None
    kept = without({"train": utterances, "test": []}, problems)
    assert [utterance.id for utterance in kept["train"]] == ["good.wav", "good.raw"]


def test_other_sample_rates_pass_where_they_are_converted(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", noise(rate=8000), 8000)
    parts = {"train": [Utterance("a", "s", str(tmp_path / "a.wav"), "A")]}
    measured, problems = check_audio(parts, 16000, True, workers=1)
    assert not problems and measured["train"][0].duration_seconds == 1.0


def test_manifests_are_checked_as_a_whole():
    parts = {
        "train": [Utterance("a", "s1", "a.wav", "A"), Utterance("a", "s2", "a.wav", "A")],
        "dev": [],
        "test": [Utterance("b c", "s2", "b.wav", " "), Utterance("a", "s3", "a.wav", "A")],
    }
    problems = check_manifests(parts)
    assert [(problem.kind, problem.part, problem.place) for problem in problems] == [
        ("empty part", "", -1),
        ("duplicate id", "train", 1),
        ("bad id", "test", 0),
        ("empty transcript", "test", 0),
        ("duplicate id", "test", 1),
        ("shared speaker", "", -1),
    ]
    assert "s2 is in test and train" in problems[-1].message
    kept = without(parts, problems)
    assert kept == {"train": parts["train"][:1], "dev": [], "test": []}


def test_missing_words_are_named_with_their_utterance():
    lexicon = Lexicon.from_mapping({"ONE": [["W"]], "TWO": [["T"]]})
    parts = {
        "train": [Utterance("a", "s", "a.wav", "ONE two SIX")],
        "test": [Utterance("b", "t", "b.wav", "TWO")],
    }
    transcript, text = check_words(parts, ["ONE NINE", "NINE"], lexicon)
    assert (transcript.utterance, transcript.kind) == ("a", "missing word")
    assert transcript.message == "no pronunciation for SIX, two (the lexicon has TWO)"
    assert (
        not text.utterance
        and "1 words of the language-model text have no pronunciation: NINE" in text.message
    )


def test_the_error_shows_the_first_and_the_file_holds_all(tmp_path: Path):
    problems = [Problem("audio", f"{number}.wav is missing", "train", f"u{number}") for number in range(30)]
    problems.append(Problem("shared speaker", "speaker s is in test and train"))
    with pytest.raises(AsrKdError, match=r"31 problems \(30 audio, 1 shared speaker\)") as caught:
        refuse(problems, tmp_path / "work" / "problems.txt")
    message = str(caught.value)
    assert "train u18: audio: 18.wav is missing" in message and "u19" not in message
    assert "speaker s is in test and train" in message
    assert "... and 11 more" in message and "problems.txt" in message
    assert len((tmp_path / "work" / "problems.txt").read_text().splitlines()) == 31
    refuse([], tmp_path / "work" / "problems.txt")
    assert not (tmp_path / "work" / "problems.txt").exists()
