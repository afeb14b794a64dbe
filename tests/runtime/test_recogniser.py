from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from asr_kd.decoding.network import BLOCK_FRAMES
from asr_kd.decoding.search import Path as BestPath
from asr_kd.decoding.search import Search
from asr_kd.errors import AsrKdError
from asr_kd.runtime import Recogniser, Segment
from asr_kd.runtime.acoustic import AcousticStream
from asr_kd.runtime.recogniser import Segmentation
from tests.runtime.conftest import noise


@pytest.fixture(scope="module")
def recogniser(model_folder: Path) -> Recogniser:
    return Recogniser(model_folder)


def whole(recogniser: Recogniser, samples: np.ndarray) -> list[Segment]:
    return list(recogniser.recognise([samples]))


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.96, 1.0, 3.17])
@pytest.mark.parametrize("portion", [160, 1600, 4000, 7777])
def test_a_stream_ends_with_the_words_of_the_whole(
    recogniser: Recogniser, seconds: float, portion: int
) -> None:
    samples = noise(seconds)
    stream, found = recogniser.stream(), []
    for start in range(0, len(samples), portion):
        found += stream.accept(samples[start : start + portion])
    assert found + stream.finish() == whole(recogniser, samples)


def test_a_whole_recording_at_once_takes_no_more_memory_than_a_stream(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[int] = []
    blocks: list[int] = []
    accept = AcousticStream.accept

    def counting(stream: AcousticStream, given: np.ndarray) -> list[np.ndarray]:
        found = accept(stream, given)
        frames.append(len(given))
        blocks.append(len(found))
        return found

    monkeypatch.setattr(AcousticStream, "accept", counting)
    whole(Recogniser(model_folder, segmentation=Segmentation(0.5, 1.0, 3.0)), noise(20.0))
    assert sum(frames) == 2000 and sum(blocks) <= 2000 // BLOCK_FRAMES
    assert max(frames) <= 101 and max(blocks) <= 4


def test_words_have_times_and_confidences(recogniser: Recogniser) -> None:
    words = [word for segment in whole(recogniser, noise(4.0)) for word in segment.words]
    assert {word.text for word in words} == {"A", "B"}
    assert all(0.0 <= word.start_seconds < word.end_seconds <= 4.0 for word in words)
    assert all(one.end_seconds <= two.start_seconds for one, two in pairwise(words))
    assert all(0.0 <= word.confidence <= 1.0 for word in words)


def test_a_word_given_out_after_the_last_frame_has_a_confidence(
    recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Search.path

    def late(search: Search, name: str) -> BestPath:
        found = path(search, name)
        return BestPath((*found.words, ("C", len(found.senones))), found.senones)

    monkeypatch.setattr(Search, "path", late)
    (segment,) = whole(recogniser, noise(1.0))
    word = segment.words[-1]
    assert (word.text, word.start_seconds, word.end_seconds) == ("C", 1.0, 1.0)
    assert 0.0 <= word.confidence <= 1.0


def test_partial_words_grow_into_the_segment(recogniser: Recogniser) -> None:
    samples = noise(3.0)
    stream = recogniser.stream()
    assert stream.partial() == ""
    stream.accept(samples)
    partial = stream.partial()
    (segment,) = stream.finish()
    assert partial
    assert len(segment.words) >= len(partial.split()) - 1


def test_long_streams_are_cut(model_folder: Path) -> None:
    segmentation = Segmentation(pause_seconds=0.5, free_seconds=1.0, longest_seconds=3.0)
    recogniser = Recogniser(model_folder, segmentation=segmentation)
    segments = whole(recogniser, noise(20.0))
    assert len(segments) >= 20 / 3
    for segment in segments:
        assert segment.words[-1].end_seconds - segment.words[0].start_seconds <= 3.0
    words = [word for segment in segments for word in segment.words]
    assert all(one.end_seconds <= two.start_seconds for one, two in pairwise(words))


def test_the_pause_that_cuts_shrinks() -> None:
    needed = Segmentation(2.0, 10.0, 30.0).needed_pause(np.array([0.0, 10.0, 20.0, 30.0, 31.0]))
    np.testing.assert_allclose(needed, [2.0, 2.0, 1.0, 0.0, 0.0])


def test_pauses_are_counted_across_blocks(recogniser: Recogniser) -> None:
    stream = recogniser.stream()
    silent = np.random.default_rng(0).random(100) < 0.7
    found: list[int] = []
    for start in range(0, 100, BLOCK_FRAMES):
        pauses = stream._pauses(silent[start : start + BLOCK_FRAMES])
        stream._pause = int(pauses[-1])
        found += pauses.tolist()
    wanted, run = [], 0
    for one in silent:
        run = run + 1 if one else 0
        wanted.append(run)
    assert found == wanted


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: np.zeros((2, 100), np.float32), r"samples must be \(samples,\) float32"),
        (lambda: np.zeros(100, np.int16), r"samples must be \(samples,\) float32"),
        (lambda: np.full(100, np.nan, np.float32), "not finite"),
    ],
)
def test_other_samples_are_refused(
    recogniser: Recogniser, make: Callable[[], np.ndarray], reason: str
) -> None:
    with pytest.raises(AsrKdError, match=reason):
        recogniser.stream().accept(make())


def test_no_audio_has_no_words(recogniser: Recogniser) -> None:
    stream = recogniser.stream()
    assert stream.finish() == []
    with pytest.raises(AsrKdError, match="finished"):
        stream.accept(np.zeros(10, np.float32))
