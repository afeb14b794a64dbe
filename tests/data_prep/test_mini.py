import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_kd import artifacts
from asr_kd.config import Config, DataConfig, LmConfig, MiniConfig, PartsConfig
from asr_kd.corpus.corpus import Corpus
from asr_kd.corpus.espeak import Espeak
from asr_kd.errors import AsrKdError
from asr_kd.stages import data
from data_prep import mini

SMALL = MiniConfig(speakers=5, dev_speakers=1, test_speakers=2, utterances_per_speaker=3)


def prepare(folder: Path, settings: MiniConfig = SMALL, seed: int = 0) -> Corpus:
    return mini.prepare(DataConfig(corpus="mini", mini=settings), folder, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mini")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return prepare(folder)


def test_parts_have_the_speakers_asked_for_and_share_none(corpus: Corpus) -> None:
    speakers = {part: {item.speaker for item in items} for part, items in corpus.parts.items()}
    assert {part: len(names) for part, names in speakers.items()} == {"train": 2, "dev": 1, "test": 2}
    assert len(set.union(*speakers.values())) == 5
    assert all(len(items) == 3 * len(speakers[part]) for part, items in corpus.parts.items())


def test_audio_is_whole_speech_at_16_kilohertz(corpus: Corpus) -> None:
    for utterance in itertools.chain.from_iterable(corpus.parts.values()):
        samples, rate = soundfile.read(utterance.audio, dtype="float32")
        assert rate == 16000
        assert samples.ndim == 1
        # From fast and short words to slow ones, with the padding.
        assert 0.2 < (len(samples) / rate - 0.2) / len(utterance.words) + 0.1 < 1.6
        assert 0.05 < np.abs(samples).max() < 0.99
        # Nowhere digital silence.
        assert (np.abs(samples[: rate // 20]) > 0).any()


def test_every_word_is_in_the_lexicon(corpus: Corpus) -> None:
    assert corpus.lexicon is not None
    assert set(corpus.lexicon.entries) == set(mini.vocabulary())
    assert 40 <= len(mini.vocabulary()) <= 60
    texts = {item.text for items in corpus.parts.values() for item in items}
    assert {word for text in texts for word in text.split()} <= set(mini.vocabulary())


def test_the_same_bytes_come_again(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    assert prepare(tmp_path).lexicon == corpus.lexicon
    digests = {artifacts.Artifact(path / "audio").digest for path in (folder, tmp_path)}
    assert len(digests) == 1


def test_every_voice_says_the_same_samples_again() -> None:
    def spoken(voice: str, variant: str) -> bytes:
        with Espeak() as engine:
            return engine.synthesise("set the fan to nine", voice, variant).samples.tobytes()

    for place, variant in enumerate(mini.VARIANTS):
        voice = mini.VOICES[place % len(mini.VOICES)]
        assert spoken(voice, variant) == spoken(voice, variant), f"{voice}+{variant}"


def test_is_made_once(corpus: Corpus, folder: Path) -> None:
    file = Path(corpus.parts["train"][0].audio)
    before = file.stat().st_mtime_ns
    assert prepare(folder).parts == corpus.parts
    assert file.stat().st_mtime_ns == before


def test_is_made_again_for_other_settings(tmp_path: Path) -> None:
    one = MiniConfig(speakers=3, dev_speakers=1, test_speakers=1, utterances_per_speaker=1)
    noisy = MiniConfig(**{**vars(one), "noise_decibels": 0.0})
    digests = set()
    for settings, seed in ((one, 0), (noisy, 0), (one, 1)):
        prepare(tmp_path, settings, seed)
        digests.add(artifacts.Artifact(tmp_path / "audio").digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("setting", "value"), [("source", "/data/mine"), ("parts", PartsConfig(test="test-clean"))]
)
def test_settings_without_effect_are_refused(tmp_path: Path, setting: str, value: object) -> None:
    with pytest.raises(AsrKdError, match=rf"data\.{setting} has no effect"):
        mini.prepare(DataConfig(corpus="mini", mini=SMALL, **{setting: value}), tmp_path)


def test_as_many_processes_as_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []

    def one_process(function: Any, items: list[Any], workers: int, description: str) -> Any:
        used.append(workers)
        return ((place, function(item)) for place, item in enumerate(items))

    monkeypatch.setattr(mini, "map_processes", one_process)
    one = MiniConfig(speakers=3, dev_speakers=1, test_speakers=1, utterances_per_speaker=1)
    settings = DataConfig(corpus="mini", mini=one, downloads=str(tmp_path))
    lms = {"bigram": LmConfig(order=2)}
    data.run(Config(recipe="mini", work=str(tmp_path), workers=3, data=settings, lms=lms), tmp_path)
    assert used == [3]


def test_damaged_audio_is_refused(tmp_path: Path) -> None:
    one = MiniConfig(speakers=3, dev_speakers=1, test_speakers=1, utterances_per_speaker=1)
    utterance = prepare(tmp_path, one).parts["test"][0]
    Path(utterance.audio).write_bytes(b"fLaC")
    with pytest.raises(AsrKdError, match=utterance.id):
        prepare(tmp_path, one)


def test_the_default_has_at_least_24_voices() -> None:
    speakers = mini._speakers(MiniConfig(), 0)
    assert len({(speaker.voice, speaker.variant) for speaker in speakers}) == len(speakers) >= 24
    assert len({speaker.variant for speaker in speakers}) == len(speakers)
    many = mini._speakers(MiniConfig(speakers=len(mini.VOICES) * len(mini.VARIANTS)), 0)
    assert len({(speaker.voice, speaker.variant) for speaker in many}) == len(many)


@pytest.mark.parametrize("speakers", [8, 1000])
def test_impossible_numbers_of_speakers_are_refused(tmp_path: Path, speakers: int) -> None:
    with pytest.raises(AsrKdError, match=f"data.mini.speakers={speakers}"):
        prepare(tmp_path, MiniConfig(speakers=speakers))


def test_sentences_are_digits_and_commands() -> None:
    sentences = [mini._sentence(np.random.default_rng(seed)) for seed in range(400)]
    numbers = [text.split() for text in sentences if set(text.split()) <= set(mini.DIGITS)]
    assert 150 < len(numbers) < 250
    assert {len(words) for words in numbers} == set(range(1, 8))
    assert {word for text in sentences for word in text.split()} == set(mini.vocabulary())


def test_noise_has_the_power_and_slope_asked_for() -> None:
    for seed in range(5):
        noise = mini._coloured_noise(16000, np.random.default_rng(seed))
        assert np.isclose(np.mean(noise**2), 1)
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        assert spectrum[200:1000].mean() >= 0.9 * spectrum[4000:7000].mean()
