"""How long it takes to score two systems and to do all tests on them, step by step and as `asr-kd compare`.

python -m asr_kd.bench.scoring [--utterances 100000] [--speakers 1000] [--wer 0.1]
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from asr_kd.bench.material import processor
from asr_kd.scoring.transcripts import write_transcripts
from asr_kd.scoring.wer import Alignment, align_words, by_group, total
from asr_kd.scoring.words import confusions, count_words, out_of_vocabulary
from asr_kd.significance.comparison import TestSet, compare
from asr_kd.significance.multiple import holm

VOCABULARY = 20_000
LONGEST = 35  # words of an utterance: LibriSpeech's are about as long


@dataclass(frozen=True)
class Material:
    """A simulated test set.

    Attributes:
        references: words by utterance.
        hypotheses: those of two systems, by name.
        speakers: by utterance.
    """

    references: dict[str, list[str]]
    hypotheses: dict[str, dict[str, list[str]]]
    speakers: dict[str, str]


def simulate(utterances: int, speakers: int, wer: float, random: np.random.Generator) -> Material:
    """Words as frequent as Zipf has it, and two systems with errors of all kinds, more with some speakers."""
    frequency = 1 / np.arange(1, VOCABULARY + 1)
    words = np.array([f"W{number}" for number in range(VOCABULARY)])
    lengths = random.integers(1, LONGEST + 1, utterances)
    drawn = words[random.choice(VOCABULARY, lengths.sum(), p=frequency / frequency.sum())]
    said = np.split(drawn, np.cumsum(lengths)[:-1])
    names = [f"u{number:06d}" for number in range(utterances)]
    of_speaker = random.integers(speakers, size=utterances)
    rates = np.minimum(wer * random.gamma(4, 1 / 4, speakers)[of_speaker], 0.9)
    hypotheses = {
        system: {
            name: _recognised(own, rate, words, random)
            for name, own, rate in zip(names, said, factor * rates, strict=True)
        }
        for system, factor in (("first", 1.0), ("second", 0.98))
    }
    return Material(
        {name: own.tolist() for name, own in zip(names, said, strict=True)},
        hypotheses,
        {name: f"s{number:05d}" for name, number in zip(names, of_speaker, strict=True)},
    )


def _recognised(said: np.ndarray, rate: float, words: np.ndarray, random: np.random.Generator) -> list[str]:
    """Six of ten errors are substitutions, two deletions, two insertions."""
    fate = random.choice(4, len(said), p=[1 - rate, 0.6 * rate, 0.2 * rate, 0.2 * rate])
    others = words[random.integers(len(words), size=len(said))]
    found: list[str] = []
    for word, other, kind in zip(said.tolist(), others.tolist(), fate.tolist(), strict=True):
        found += ([word], [other], [], [word, other])[kind]
    return found


class Steps:
    """Seconds of what is done one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def done(self, step: str) -> None:
        """Count the time since the last step as this one's."""
        now = perf_counter()
        self.seconds[step] = now - self._last
        self._last = now


def measure(material: Material) -> dict[str, float]:
    """Seconds by step."""
    steps = Steps()
    aligned = {name: align_words(material.references, own) for name, own in material.hypotheses.items()}
    steps.done("align the words of both")
    errors, baseline = (_count(own, material.speakers) for own in aligned.values())
    steps.done("count errors by utterance, speaker and word")
    test_set = TestSet(
        np.array([len(words) for words in material.references.values()]), tuple(material.speakers.values())
    )
    first, second = ([alignment.slots() for alignment in own.values()] for own in aligned.values())
    steps.done("lay out errors for MAPSSWE")
    found = compare(test_set, errors, baseline, np.random.default_rng(0), slots=(first, second))
    assert found is not None and found.matched_pairs is not None
    holm([found.p, found.matched_pairs.p])
    steps.done("bootstrap by utterance and speaker, sign-flip test, MAPSSWE")
    return steps.seconds


def _count(alignments: Mapping[str, Alignment], speakers: Mapping[str, str]) -> np.ndarray:
    """Everything that a report counts; returns errors ``(utterances,)``."""
    by_utterance = {name: alignment.counts for name, alignment in alignments.items()}
    total(by_utterance.values())
    by_group(by_utterance, speakers)
    count_words(alignments.values())
    confusions(alignments.values())
    out_of_vocabulary(alignments.values(), frozenset(f"W{number}" for number in range(VOCABULARY // 2)))
    return np.array([counts.errors for counts in by_utterance.values()])


def measure_compare(material: Material) -> float:
    """Seconds of `asr-kd compare` on files of these systems, to a page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_transcripts(folder / "reference", material.references)
        write_transcripts(folder / "utt2spk", {key: [own] for key, own in material.speakers.items()})
        for system, own in material.hypotheses.items():
            write_transcripts(folder / system, own)
        files = [str(folder / system) for system in material.hypotheses]
        given = [f"reference={folder / 'reference'}", f"speakers={folder / 'utt2spk'}"]
        command = [sys.executable, "-m", "asr_kd", "compare", *files, *given, "format=html"]
        started = perf_counter()
        subprocess.run([*command, f"to={folder / 'page.html'}"], check=True)
        return perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed of scoring and of all tests.")
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--speakers", type=int, default=1_000)
    parser.add_argument("--wer", type=float, default=0.1)
    given = parser.parse_args(arguments)
    material = simulate(given.utterances, given.speakers, given.wer, np.random.default_rng(0))
    words = sum(map(len, material.references.values()))
    size = f"{given.utterances:,} utterances, {words:,} words, {given.speakers:,} speakers"
    print(f"2 systems, {size}; {processor()}")
    seconds = measure(material)
    for step, own in {**seconds, "together": sum(seconds.values())}.items():
        print(f"| {step} | {own:.1f} s |")
    print(f"| `asr-kd compare`, from files to a page | {measure_compare(material):.1f} s |")


if __name__ == "__main__":
    main()
