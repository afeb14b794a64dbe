"""Real-time factors of whole recognisers on a CPU: audio to features to scores to words.

Passes of the systems are interleaved, so that a machine that slows down slows all of them, and everything is
done once beforehand, unmeasured, so that no pass pays for cold caches and lazy initialisation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import torch

from asr_kd.corpus.manifest import Utterance
from asr_kd.decoding.acoustic import load_scorer
from asr_kd.decoding.graph import load_graph
from asr_kd.decoding.search import Search, SearchSettings
from asr_kd.decoding.systems import System
from asr_kd.features.extract import Backend, Extraction, load_waveform, make_backend
from asr_kd.features.normalise import Statistics, normalise, subtract_mean

PHASES = ("features", "acoustic", "search", "total")


@dataclass(frozen=True, eq=False)
class Sound:
    """One utterance in memory.

    Attributes:
        name: its id.
        waveform: ``(samples,)`` float32 in [-1, 1].
        fbank: statistics of the speaker's (or the utterance's) filterbanks, known beforehand.
        mfcc: the same of the MFCCs.
    """

    name: str
    waveform: np.ndarray
    fbank: Statistics
    mfcc: Statistics


class Recogniser(Protocol):
    """Something that can be measured."""

    def __call__(self, sound: Sound) -> tuple[float, float, float]:
        """Recognise one utterance; the seconds of features, acoustic model and search."""
        ...


class SystemRecogniser:
    """A system of the recipe, from waveform to words; only its networks have several `threads`."""

    def __init__(self, backend: Backend, system: System, labels: Path, search: Search, threads: int) -> None:
        self._backend, self._search = backend, search
        self._scorer = load_scorer(system, labels, "cpu", threads)

    def __call__(self, sound: Sound) -> tuple[float, float, float]:
        """See `Recogniser`."""
        started = perf_counter()
        fbank, mfcc = self._backend.compute([sound.waveform])
        fbank, mfcc = normalise(fbank, sound.fbank), subtract_mean(mfcc, sound.mfcc)
        featured = perf_counter()
        scores, _ = self._scorer(fbank, mfcc)
        scored = perf_counter()
        self._search(sound.name, scores)
        return featured - started, scored - featured, perf_counter() - scored


@dataclass(frozen=True)
class Bench:
    """All that the measuring process needs.

    Attributes:
        systems: each with the settings of its search.
        graph: folder of the decoding graph.
        labels: folder with the priors.
        extraction: how features are made.
        utterances: what is recognised.
        passes: measured ones, of each system.
        threads: of the acoustic model.
    """

    systems: tuple[tuple[System, SearchSettings], ...]
    graph: Path
    labels: Path
    extraction: Extraction
    utterances: tuple[Utterance, ...]
    passes: int
    threads: int


def run_bench(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Measure all systems; meant to be run in a process of its own.

    Returns:
        By system and phase, the real-time factor of every pass.
    """
    torch.set_num_threads(bench.threads)
    backend = make_backend(bench.extraction)
    sounds = load_sounds(bench.utterances, bench.extraction, backend)
    graph = load_graph(bench.graph)
    columns = graph.highest_input_label
    recognisers = {
        system.name: SystemRecogniser(
            backend, system, bench.labels, Search(graph, columns, settings), bench.threads
        )
        for system, settings in bench.systems
    }
    return measure(recognisers, sounds, bench.extraction.sample_rate, bench.passes)


def load_sounds(utterances: Sequence[Utterance], extraction: Extraction, backend: Backend) -> list[Sound]:
    """Read utterances and what their features are normalised with.

    By speaker the statistics are those of the given utterances, i.e. about those of the frame store.
    """
    waveforms = [load_waveform(utterance, extraction) for utterance in utterances]
    own = [tuple(Statistics.of(kind) for kind in backend.compute([waveform])) for waveform in waveforms]
    speakers: dict[str, list[tuple[Statistics, ...]]] = {}
    for utterance, statistics in zip(utterances, own, strict=True):
        speakers.setdefault(utterance.speaker, []).append(statistics)
    merged = {
        speaker: tuple(Statistics.merged(of_kind) for of_kind in zip(*known, strict=True))
        for speaker, known in speakers.items()
    }
    by_speaker = extraction.features.normalise == "speaker"
    return [
        Sound(
            utterance.id,
            waveform,
            merged[utterance.speaker][0] if by_speaker else statistics[0],
            merged[utterance.speaker][1],
        )
        for utterance, waveform, statistics in zip(utterances, waveforms, own, strict=True)
    ]


def measure(
    recognisers: Mapping[str, Recogniser], sounds: Sequence[Sound], sample_rate: int, passes: int
) -> dict[str, dict[str, list[float]]]:
    """Real-time factors by recogniser, phase and pass; pass by pass, one recogniser after the other."""
    audio_seconds = sum(len(sound.waveform) for sound in sounds) / sample_rate
    factors: dict[str, dict[str, list[float]]] = {
        name: {phase: [] for phase in PHASES} for name in recognisers
    }
    for number in range(passes + 1):
        for name, recogniser in recognisers.items():
            started = perf_counter()
            phases = np.sum([recogniser(sound) for sound in sounds], axis=0)
            seconds = (*phases.tolist(), perf_counter() - started)
            if number > 0:  # the first pass warms up
                for phase, value in zip(PHASES, seconds, strict=True):
                    factors[name][phase].append(value / audio_seconds)
    return factors


def summarise(factors: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Median and quartiles over the passes, by phase."""
    summary = {}
    for phase, values in factors.items():
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        summary[phase] = {"median": float(median), "low": float(low), "high": float(high)}
    return summary
