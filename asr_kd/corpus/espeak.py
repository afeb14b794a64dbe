"""espeak-ng: synthetic speech for smoke tests, and letter-to-sound rules for words no dictionary has.

The library and its data come with the package `espeakng-loader`. Its state is global to a process, so only
one `Espeak` is open at a time; a second waits. Worker processes must be spawned, not forked (as `jobs` does).
"""

import _ctypes
import ctypes
import threading
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr_kd.errors import AsrKdError

# Of espeak-ng's speak_lib.h.
SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
UTF8 = 1
RATE, PITCH, PITCH_RANGE = 1, 3, 4
SEPARATED_BY_BAR = ord("|") << 8
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_lock = threading.Lock()

# ARPAbet phones, and the mnemonics of espeak-ng's voice en-us that sound like them. Flaps and glottal stops
# are T, syllabic consonants get a vowel, and vowels coloured by an R get that R, all as in cmudict.
_PHONES = {
    "AA": "0 A:", "AA N": "A~", "AA R": "A@", "AE": "a aa", "AH": "@ @- @2 @5 V a#", "AH L": "@L",
    "AH N": "n-", "AO": "O O2 O:", "AO N": "O~", "AO R": "O@ o@", "AW": "aU", "AY": "aI", "AY AH": "aI@",
    "AY ER": "aI3", "B": "b", "CH": "tS", "D": "d", "DH": "D", "EH": "E E2", "EH R": "e@", "ER": "3 3:",
    "EY": "eI e", "F": "f", "G": "g", "HH": "h", "IH": "I I2 I#", "IH R": "i@3", "IY": "i i: i::",
    "IY AH": "i@", "JH": "dZ", "K": "k x", "L": "l l#", "M": "m", "N": "n", "NG": "N", "OW": "oU o",
    "OY": "OI", "P": "p", "R": "r r-", "S": "s", "SH": "S", "T": "t t# t2 ?", "TH": "T", "UH": "U",
    "UH R": "U@", "UW": "u u:", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "Z",
    "": ";",  # a glide between two vowels
}  # fmt: skip
MNEMONICS = {
    mnemonic: tuple(phones.split()) for phones, mnemonics in _PHONES.items() for mnemonic in mnemonics.split()
}


class Speech(NamedTuple):
    """Synthesised speech: ``(samples,)`` float32 in [-1, 1], and its sample rate in hertz."""

    samples: np.ndarray
    sample_rate: int


class Espeak:
    """espeak-ng, freshly loaded: a context manager.

    What it says depends on what it has said before (filters and oscillators run on), in ways that only
    unloading the library ends. So the same calls give the same samples, from the opening on.

    Raises:
        AsrKdError: the library or its data cannot be loaded.
    """

    def __enter__(self) -> "Espeak":
        _lock.acquire()
        try:
            self._library, self._data = _load()
            self.sample_rate = _initialise(self._library, self._data)
        except BaseException:
            _lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)
        _lock.release()

    def synthesise(
        self,
        text: str,
        voice: str = "en-us",
        variant: str = "",
        rate: int = 175,
        pitch: int = 50,
        pitch_range: int = 50,
    ) -> Speech:
        """Speak a text.

        Args:
            text: what to say.
            voice: a language or accent, e.g. ``"en-us"``, ``"en"`` (British), ``"en-gb-scotland"``.
            variant: a speaker of that voice, e.g. ``"f2"``; none: the voice as it is.
            rate: words a minute, 80 to 450.
            pitch: of the voice, 0 to 99; 50 is the variant's own.
            pitch_range: how lively, 0 (monotone) to 99.

        Raises:
            AsrKdError: there is no such voice or variant, or the text cannot be said.
        """
        self._set_voice(voice, variant)
        for parameter, value in ((RATE, rate), (PITCH, pitch), (PITCH_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        blocks: list[np.ndarray] = []

        def keep(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
            if samples and count:
                blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
            return 0

        callback = CALLBACK(keep)
        self._library.espeak_SetSynthCallback(callback)
        encoded = text.encode()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8, None, None)
        if status != 0:
            raise AsrKdError(f"espeak-ng cannot say {text!r} (status {status})")
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
        return Speech(samples.astype(np.float32) / 32768.0, self.sample_rate)

    def mnemonics(self, text: str, voice: str = "en-us") -> list[str]:
        """The phonemes of a text, in espeak-ng's own notation, without stress."""
        self._set_voice(voice)
        pointer = ctypes.c_char_p(text.encode())
        found: list[str] = []
        # One clause a call; the pointer moves on, and becomes null at the end of the text.
        while pointer.value is not None:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(pointer), UTF8, SEPARATED_BY_BAR) or b""
            # Stress marks, pauses and signs of a change of language stand before a phoneme.
            found += [phoneme.strip("',%=_!") for phoneme in clause.decode().replace(" ", "|").split("|")]
        return [phoneme for phoneme in found if phoneme]

    def _set_voice(self, voice: str, variant: str = "") -> None:
        if variant and not (self._data / "voices" / "!v" / variant).is_file():
            # The library itself would speak with the voice as it is.
            raise AsrKdError(f"espeak-ng has no variant {variant!r}")
        name = f"{voice}+{variant}" if variant else voice
        if self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise AsrKdError(f"espeak-ng has no voice {name!r}")


def pronounce(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Pronounce English words by espeak-ng's letter-to-sound rules, in the phones of cmudict without stress.

    On 2,000 words drawn at random from cmudict (12,700 phones) the phone error rate is 10.2 %, against the
    nearest of a word's pronunciations.

    Raises:
        AsrKdError: words that are not made of Latin letters (digits, punctuation, other scripts); names all.
    """
    words = list(words)
    with Espeak() as engine:
        # In lower case, because espeak-ng spells some words in capitals letter by letter.
        found = {word: _phones(engine.mnemonics(word.lower())) for word in words if _is_spelled(word)}
    failed = sorted({word for word in words if not found.get(word)})
    if failed:
        raise AsrKdError(
            f"no pronunciation by rule for {', '.join(map(repr, failed))}: only words of Latin letters, "
            "apostrophes, hyphens and full stops have one; write them out, or add them to data.lexicon"
        )
    return {word: phones for word, phones in found.items() if phones}


def _load() -> tuple[ctypes.CDLL, Path]:
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise AsrKdError(
            f"espeak-ng is missing ({error}); install it with `pip install espeakng-loader`, "
            "or give every word a pronunciation with data.lexicon"
        ) from error
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    return library, data


def _initialise(library: ctypes.CDLL, data: Path) -> int:
    sample_rate: int = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), DO_NOT_EXIT)
    if sample_rate <= 0:
        raise AsrKdError(
            f"espeak-ng cannot read its data in {data}: it takes paths of at most 150 characters; "
            "install asr_kd in a folder with a shorter name"
        )
    # Breath and flutter are drawn at random.
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    return sample_rate


def _is_spelled(word: str) -> bool:
    letters = [character for character in word if character not in "'’-."]
    return bool(letters) and all(
        character.isalpha() and unicodedata.name(character, "").startswith("LATIN") for character in letters
    )


def _phones(mnemonics: list[str]) -> tuple[str, ...] | None:
    """ARPAbet phones; None where a mnemonic stands for a sound that English does not have."""
    phones: list[str] = []
    for mnemonic in mnemonics:
        if mnemonic not in MNEMONICS:
            return None
        for phone in MNEMONICS[mnemonic]:
            # A vowel that brings its own R swallows the R that links it to the next vowel.
            if not (phone == "R" and phones and phones[-1] in ("R", "ER")):
                phones.append(phone)
    return tuple(phones)
