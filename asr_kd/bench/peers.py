"""Other recognisers on the same audio, where they are installed (extra `bench`)."""

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

import numpy as np

from asr_kd.bench.deployed import PORTION_SECONDS, Deployed, Timing
from asr_kd.corpus.lexicon import Lexicon, Pronunciation

SAMPLE_RATE = 16000  # of PocketSphinx's model


class PocketSphinx:
    """PocketSphinx with its own English acoustic model.

    With `dictionary` and `lm` of ours it knows the same words and word sequences; else it uses its own.
    """

    def __init__(self, dictionary: Path | None = None, lm: Path | None = None) -> None:
        from pocketsphinx import Decoder, get_model_path

        self._decoder = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=str(dictionary or get_model_path("en-us/cmudict-en-us.dict")),
            lm=str(lm or get_model_path("en-us/en-us.lm.bin")),
            loglevel="FATAL",
        )

    def __call__(self, samples: np.ndarray) -> tuple[list[str], Timing]:
        """See `Deployed`."""
        started = perf_counter()
        self._decoder.start_utt()
        self._decoder.process_raw(_as_bytes(samples), full_utt=True)
        words = self._finish()
        return words, Timing(perf_counter() - started)

    def latency(self, samples: np.ndarray) -> float | None:
        """See `Deployed`."""
        portion = round(PORTION_SECONDS * SAMPLE_RATE)
        portions = [samples[start : start + portion] for start in range(0, len(samples), portion)]
        self._decoder.start_utt()
        for early in portions[:-1]:
            self._decoder.process_raw(_as_bytes(early))
        started = perf_counter()
        self._decoder.process_raw(_as_bytes(portions[-1]))
        self._finish()
        return perf_counter() - started

    def _finish(self) -> list[str]:
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return [re.sub(r"\(\d+\)$", "", word) for word in found.hypstr.upper().split()] if found else []


def pocketsphinx_peers(lexicon: Lexicon, lm: Path, scratch: Path, sample_rate: int) -> dict[str, Deployed]:
    """PocketSphinx with the recipe's language model and dictionary, and with its own.

    Args:
        lexicon: of the words that are recognised.
        lm: an ARPA file.
        scratch: where its dictionary is written.
        sample_rate: of the audio; its model knows only 16 kHz.

    Returns:
        By name; none where it is not installed, or the rate is another.
    """
    if importlib.util.find_spec("pocketsphinx") is None or sample_rate != SAMPLE_RATE:
        return {}
    dictionary = scratch / "pocketsphinx.dict"
    dictionary.write_text("".join(_dictionary_lines(lexicon)), encoding="utf-8")
    return {"pocketsphinx, same LM": PocketSphinx(dictionary, lm), "pocketsphinx, own LM": PocketSphinx()}


def _dictionary_lines(lexicon: Lexicon) -> Iterable[str]:
    """CMU's phones without stress; pronunciations with other phones are left out."""
    from pocketsphinx import get_model_path

    own = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8")
    phones = {phone for line in own.splitlines() for phone in line.split()[1:]}
    for word, pronunciations in lexicon.entries.items():
        plain: list[Pronunciation] = []
        for pronunciation in pronunciations:
            known = tuple(phone.rstrip("012") for phone in pronunciation)
            if phones.issuperset(known) and known not in plain:
                plain.append(known)
        for number, pronunciation in enumerate(plain, start=1):
            yield f"{word}{f'({number})' if number > 1 else ''} {' '.join(pronunciation)}\n"


def _as_bytes(samples: np.ndarray) -> bytes:
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()
