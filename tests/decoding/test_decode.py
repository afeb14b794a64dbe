from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr_kd.decoding.decode import Scored, decode_part, split_utterances
from asr_kd.decoding.graph import load_graph
from asr_kd.decoding.search import Search, SearchSettings
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.jobs import WorkerPool
from tests.decoding.graphs import write_graph

SETTINGS = [SearchSettings(1.0, 12.0, 1000), SearchSettings(0.05, 12.0, 1000)]


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


@pytest.fixture
def index() -> FrameIndex:
    return FrameIndex.from_lengths([f"u{n}" for n in range(9)], ["s"] * 9, [7, 12, 3, 30, 8, 9, 5, 16, 4])


@pytest.fixture
def scored(tmp_path: Path, index: FrameIndex) -> Scored:
    values = np.random.default_rng(0).normal(0, 4, (index.total_frames, 3))
    np.save(tmp_path / "scores.npy", values.astype(np.float16))
    index.save(tmp_path)
    return Scored(tmp_path / "scores.npy", features=tmp_path)


def test_as_one_search_after_the_other(
    tmp_path: Path, pool: WorkerPool, index: FrameIndex, scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_graph(tmp_path / "graph", ["A", "B"])
    monkeypatch.setattr("asr_kd.decoding.decode._ITEM_FRAMES", 10)
    several = decode_part(pool, folder, 3, scored, SETTINGS, "test")
    values = np.load(scored.scores)
    for decoding, settings in zip(several, SETTINGS, strict=True):
        search = Search(load_graph(folder), 3, settings)
        assert decoding == {name: search(name, values[span]) for name, span in index.spans()}
        assert list(decoding) == list(index.ids)
    assert several[0] != several[1]


def test_only_the_chosen_utterances(
    tmp_path: Path, pool: WorkerPool, index: FrameIndex, scored: Scored
) -> None:
    folder = write_graph(tmp_path / "graph", ["A", "B"])
    (whole,) = decode_part(pool, folder, 3, scored, SETTINGS[:1], "test")
    (some,) = decode_part(pool, folder, 3, scored, SETTINGS[:1], "test", utterances=[1, 6])
    assert some == {name: whole[name] for name in ("u1", "u6")}


def test_an_error_in_a_worker_names_the_utterance(
    tmp_path: Path, pool: WorkerPool, index: FrameIndex, scored: Scored
) -> None:
    folder = write_graph(tmp_path / "graph", ["A", "B"])
    values = np.load(scored.scores)
    values[index.span("u3")] = np.nan
    np.save(scored.scores, values)
    with pytest.raises(AsrKdError, match="u3"):
        decode_part(pool, folder, 3, scored, SETTINGS[:1], "test")


def test_pieces_hold_every_utterance_once(index: FrameIndex) -> None:
    assert split_utterances(index, range(9), 20) == [[0, 1, 2], [3], [4, 5, 6], [7, 8]]
    assert split_utterances(index, [2, 3], 1) == [[2], [3]]
    assert split_utterances(index, [], 20) == []
