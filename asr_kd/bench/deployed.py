"""Recognisers as they are shipped, audio to words: speed, words, latency; and their peers in the same passes.

Passes of all recognisers are interleaved, so that a machine that slows down slows all of them, and the first
pass is not counted. Every recogniser's words are those of its own measured passes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from asr_kd.decoding.search import Search
from asr_kd.runtime import Recogniser

# What a stream gets at a time, as a sound card would give it.
PORTION_SECONDS = 0.1


@dataclass
class Timing:
    """Seconds of one recognition.

    Attributes:
        total: from samples in memory to words.
        acoustic: of it, in the network.
        search: of it, in the search.
    """

    total: float
    acoustic: float | None = None
    search: float | None = None


class Deployed(Protocol):
    """A recogniser to be measured."""

    def __call__(self, samples: np.ndarray) -> tuple[list[str], Timing]:
        """The words of one utterance ``(samples,)`` float32, and what they took."""
        ...

    def latency(self, samples: np.ndarray) -> float | None:
        """Seconds from the last sample of a stream to its final words; None where it cannot stream."""
        ...


class _Timed:
    """Something of which some methods count the seconds that they take."""

    def __init__(self, timed: object, *methods: str) -> None:
        self._timed, self._methods, self.seconds = timed, methods, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._timed, name)
        return self._counting(found) if name in self._methods else found

    def _counting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            started = perf_counter()
            result = method(*arguments)
            self.seconds += perf_counter() - started
            return result

        return counted


class TimedRecogniser(Recogniser):
    """Our recogniser, its network and search timed."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder, threads)
        self._network = _Timed(self.model.network, "logits", "log_posteriors")
        self.model = replace(self.model, network=self._network)  # type: ignore[arg-type]
        self._search: _Timed

    def search(self) -> Search:
        """See `Recogniser.search`."""
        self._search = _Timed(super().search(), "advance", "path")
        return self._search  # type: ignore[return-value]

    def __call__(self, samples: np.ndarray) -> tuple[list[str], Timing]:
        """See `Deployed`."""
        before, started = self._network.seconds, perf_counter()
        words = [word.text for segment in self.recognise([samples]) for word in segment.words]
        total = perf_counter() - started
        return words, Timing(total, self._network.seconds - before, self._search.seconds)

    def latency(self, samples: np.ndarray) -> float | None:
        """See `Deployed`: what the last portion and the end take."""
        stream, portion = self.stream(), round(PORTION_SECONDS * self.sample_rate)
        portions = [samples[start : start + portion] for start in range(0, len(samples), portion)]
        for early in portions[:-1]:
            stream.accept(early)
        started = perf_counter()
        stream.accept(portions[-1])
        stream.finish()
        return perf_counter() - started


@dataclass
class Measured:
    """What was found out about one recogniser.

    Attributes:
        words: of every utterance, in the first measured pass.
        passes: real-time factors of each pass: total, acoustic, search.
        seconds: of every utterance and pass.
        latencies: of every utterance, where it can stream.
    """

    words: list[list[str]] = field(default_factory=list)
    passes: list[tuple[float, float | None, float | None]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def measure(
    recognisers: Mapping[str, Deployed], waveforms: Sequence[np.ndarray], sample_rate: int, passes: int
) -> dict[str, Measured]:
    """Recognise all utterances ``(samples,)`` with all recognisers, pass by pass; the first one warms up."""
    audio_seconds = sum(map(len, waveforms)) / sample_rate
    found = {name: Measured() for name in recognisers}
    for number in range(passes + 1):
        for name, recogniser in recognisers.items():
            results = [recogniser(samples) for samples in waveforms]
            if number == 0:
                continue
            own, timings = found[name], [timing for _, timing in results]
            own.words = own.words or [words for words, _ in results]
            own.seconds += [timing.total for timing in timings]
            own.passes.append(
                (
                    sum(timing.total for timing in timings) / audio_seconds,
                    _share([timing.acoustic for timing in timings], audio_seconds),
                    _share([timing.search for timing in timings], audio_seconds),
                )
            )
    for name, recogniser in recognisers.items():
        latencies = (recogniser.latency(samples) for samples in waveforms)
        found[name].latencies = [seconds for seconds in latencies if seconds is not None]
    return found


def summarise(measured: Measured) -> dict[str, Any]:
    """Medians and quartiles over the passes, percentiles over the utterances."""
    rtf = {}
    for place, phase in enumerate(("total", "acoustic", "search")):
        values = [one for one in (factors[place] for factors in measured.passes) if one is not None]
        if values:
            low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
            rtf[phase] = {"median": float(median), "low": float(low), "high": float(high)}
    return {
        "rtf": rtf,
        "times_real_time": 1.0 / rtf["total"]["median"],
        "utterance_seconds": percentiles(measured.seconds),
        "latency_seconds": percentiles(measured.latencies) if measured.latencies else None,
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90 and p99."""
    found = np.quantile(values, [0.5, 0.9, 0.99])
    return {name: float(value) for name, value in zip(("p50", "p90", "p99"), found, strict=True)}


def _share(seconds: Sequence[float | None], audio_seconds: float) -> float | None:
    known = [value for value in seconds if value is not None]
    return sum(known) / audio_seconds if len(known) == len(seconds) else None
