"""Audio in, words out: whole recordings, or streams as they come."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_kd.decoding.search import Search
from asr_kd.errors import AsrKdError
from asr_kd.runtime.acoustic import AcousticStream
from asr_kd.runtime.features import FeatureStream, Filterbank
from asr_kd.runtime.model import Model, load_model_folder
from asr_kd.runtime.word_times import word_spans


@dataclass(frozen=True)
class Word:
    """A recognised word.

    Attributes:
        text: as in the lexicon.
        start_seconds: from the beginning of the stream.
        end_seconds: the same.
        confidence: 0 to 1: what the network gave, on average over the word's frames, to the phones it is made
            of (a local measure: the language model has no part in it).
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """Words that were searched together: what lies between two pauses, or a short recording."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words, separated by spaces."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Segmentation:
    """Where a long stream is cut, so that memory and delay stay bounded.

    Up to `free_seconds` only a pause of `pause_seconds` cuts; from then on ever shorter pauses do, and at
    `longest_seconds` the stream is cut wherever it is.
    """

    pause_seconds: float = 2.0
    free_seconds: float = 10.0
    longest_seconds: float = 30.0

    def needed_pause(self, seconds: float | np.ndarray) -> np.ndarray:
        """How long a pause must be to cut after so many seconds."""
        share = (self.longest_seconds - np.asarray(seconds)) / (self.longest_seconds - self.free_seconds)
        return self.pause_seconds * np.clip(share, 0.0, 1.0)


class Recogniser:
    """A loaded model; any number of streams, one after the other or interleaved.

    Example:
        >>> recogniser = Recogniser(Path("model"))
        >>> [segment.text for segment in recogniser.recognise([samples])]
        >>> stream = recogniser.stream()
        >>> stream.accept(samples); stream.partial(); stream.finish()
    """

    def __init__(self, folder: Path, threads: int = 1, segmentation: Segmentation | None = None) -> None:
        """Load a model folder, its hashes checked; `threads` are the network's."""
        self.model = load_model_folder(folder, threads)
        self.segmentation = segmentation or Segmentation()
        self._filterbank = Filterbank(self.model.features, self.model.sample_rate)
        self._columns = self.model.graph.highest_input_label

    @property
    def sample_rate(self) -> int:
        """Hertz of the samples that it takes."""
        return self.model.sample_rate

    def stream(self) -> "Stream":
        """A new stream: a speaker that nothing is known about."""
        return Stream(self.model, FeatureStream(self._filterbank), self.search(), self.segmentation)

    def search(self) -> Search:
        """A new search of the model's graph."""
        return Search(self.model.graph, self._columns, self.model.search)

    def recognise(self, audio: Iterable[np.ndarray]) -> Iterator[Segment]:
        """The segments of one recording, given in portions ``(samples,)`` float32 in [-1, 1].

        They are those of a stream that gets the same samples in other portions.
        """
        stream = self.stream()
        for samples in audio:
            yield from stream.accept(samples)
        yield from stream.finish()


class Stream:
    """One recording as it comes in."""

    def __init__(
        self, model: Model, features: FeatureStream, search: Search, segmentation: Segmentation
    ) -> None:
        self._model, self._features = model, features
        self._search, self._segmentation = search, segmentation
        self._acoustic = AcousticStream(model.network, model.statistics)
        senones = model.network.senones
        phones = model.phones
        self._silent = phones.silent if phones else np.zeros(senones, bool)
        groups = phones.groups if phones else np.arange(senones)
        self._groups = groups
        self._membership = np.eye(groups.max() + 1, dtype=np.float32)[groups]
        self._first_frame = 0  # of the current segment
        self._length = self._pause = 0  # frames of it, and silent ones at its end
        self._phones: list[np.ndarray] = []  # its posteriors (frames, groups of senones)
        self._finished = False
        self._search.start()

    def accept(self, samples: np.ndarray) -> list[Segment]:
        """Take ``(samples,)`` float32 in [-1, 1] of one channel; the segments that are complete now.

        However many there are, they go through a second at a time, so that memory stays bounded.

        Raises:
            AsrKdError: the stream was finished, or the samples are not such an array.
        """
        if self._finished:
            raise AsrKdError("the stream is finished: begin another one")
        samples = np.asarray(samples)
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise AsrKdError(f"samples must be (samples,) float32, not {samples.shape} {samples.dtype}")
        if not np.isfinite(samples).all():
            raise AsrKdError("samples that are not finite numbers: the audio is damaged")
        rate = self._model.sample_rate
        return [
            segment
            for start in range(0, len(samples), rate)
            for segment in self._accept_portion(samples[start : start + rate])
        ]

    def partial(self) -> str:
        """The words of the segment that is not complete, as they look now: they may still change."""
        return " ".join(self._search.hypothesis("stream").words) if self._length else ""

    def finish(self) -> list[Segment]:
        """The audio is over: the last segments."""
        self._finished = True
        blocks = self._acoustic.accept(self._features.finish()) + self._acoustic.finish()
        return self._take(blocks) + self._end_segment()

    def _accept_portion(self, samples: np.ndarray) -> list[Segment]:
        return self._take(self._acoustic.accept(self._features.accept(samples)))

    def _take(self, blocks: Iterable[np.ndarray]) -> list[Segment]:
        return [segment for block in blocks for segment in self._search_block(block)]

    def _search_block(self, log_posteriors: np.ndarray) -> Iterator[Segment]:
        """Search a block ``(frames, senones)``, cut where a segment ends."""
        while len(log_posteriors):
            posteriors = np.exp(log_posteriors)
            pauses = self._pauses(posteriors[:, self._silent].sum(axis=1) > 0.5)
            seconds = (self._length + 1 + np.arange(len(pauses))) * self._model.frame_seconds
            ends = pauses * self._model.frame_seconds >= self._segmentation.needed_pause(seconds)
            size = int(ends.argmax()) + 1 if ends.any() else len(pauses)
            self._search.advance("stream", log_posteriors[:size] - self._model.log_priors)
            self._phones.append(posteriors[:size] @ self._membership)
            self._length, self._pause = self._length + size, int(pauses[size - 1])
            if ends.any():
                yield from self._end_segment()
            log_posteriors = log_posteriors[size:]

    def _pauses(self, silent: np.ndarray) -> np.ndarray:
        """For every frame of a block ``(frames,)`` how many silent ones end with it."""
        places = np.arange(len(silent))
        last_speech = np.maximum.accumulate(np.where(silent, -1 - self._pause, places))
        return places - last_speech

    def _start_segment(self) -> None:
        self._length, self._pause, self._phones = 0, 0, []
        self._search.start()

    def _end_segment(self) -> list[Segment]:
        """The words so far as a segment, if there are any; then a new one begins."""
        words = self._words() if self._length else ()
        self._first_frame += self._length
        self._start_segment()
        return [Segment(words)] if words else []

    def _words(self) -> tuple[Word, ...]:
        path = self._search.path("stream")
        posteriors = np.concatenate(self._phones)
        on_path = posteriors[np.arange(len(posteriors)), self._groups[path.senones]]
        end = len(on_path)
        spans = word_spans(path.senones, path.words, self._model.phones)
        return tuple(
            Word(
                text,
                round((self._first_frame + first) * self._model.frame_seconds, 3),
                round((self._first_frame + last) * self._model.frame_seconds, 3),
                # At least one frame: the graph may give a word out after the last one.
                round(float(on_path[min(first, end - 1) : max(last, first + 1)].mean()), 3),
            )
            for (text, _), (first, last) in zip(path.words, spans, strict=True)
        )
