"""The frame layout: flat arrays and one index."""

from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex, create_frames, open_frames, read_array


def test_index_survives_saving(tmp_path: Path) -> None:
    index = FrameIndex.from_lengths(["b", "a"], ["s1", "s2"], [3, 5])
    index.save(tmp_path)
    loaded = FrameIndex.load(tmp_path)
    assert loaded.ids == ("b", "a")
    assert loaded.speakers == ("s1", "s2")
    assert loaded.total_frames == 8
    np.testing.assert_array_equal(loaded.offsets, [0, 3, 8])
    np.testing.assert_array_equal(loaded.lengths, [3, 5])


def test_spans_by_id_and_place() -> None:
    index = FrameIndex.from_lengths(["b", "a"], ["s", "s"], [3, 5])
    assert index.span("a") == index.span(1) == slice(3, 8)
    assert dict(index.spans()) == {"b": slice(0, 3), "a": slice(3, 8)}


def test_empty_index_has_no_frames() -> None:
    assert FrameIndex.from_lengths([], [], []).total_frames == 0
    assert FrameIndex.from_lengths([], [], []).ranges(10) == []


def test_ranges_cover_every_utterance_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, size=100)
    index = FrameIndex.from_lengths([str(place) for place in range(100)], ["s"] * 100, lengths.tolist())
    ranges = index.ranges(200)
    assert [place for places in ranges for place in places] == list(range(100))
    assert len(ranges) > 5
    assert max(lengths[list(places)].sum() for places in ranges) < 260


def test_array_of_another_length_is_refused(tmp_path: Path) -> None:
    create_frames(tmp_path / "x.npy", 7, (2,), np.float16).flush()
    index = FrameIndex.from_lengths(["a"], ["s"], [8])
    with pytest.raises(AsrKdError, match=r"x\.npy: 7 rows.* 8 frames"):
        open_frames(tmp_path / "x.npy", index)


def test_rows_written_by_several_openings_are_all_there(tmp_path: Path) -> None:
    create_frames(tmp_path / "x.npy", 4, (), np.int32).flush()
    for row in range(4):
        array = open_frames(tmp_path / "x.npy", writable=True)
        array[row] = row
        del array
    np.testing.assert_array_equal(open_frames(tmp_path / "x.npy"), [0, 1, 2, 3])


def test_arrays_of_others_are_read_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.int32), np.float32(3)):
        np.save(path, array)
        np.testing.assert_array_equal(read_array(path), array)
    np.save(path, np.arange(6.0))
    whole = path.read_bytes()
    huge = whole.replace(b"(6,), ", b"(6000000000000,), ").replace(b" " * 12 + b"\n", b"\n")
    assert len(huge) == len(whole)
    broken = {whole[:-1]: "not an array", huge: "not an array", b"": "not an array", b"PK\x03\x04": "not an"}
    for content, message in {**broken, whole.replace(b"<f8", b"<U2"): "holds <U2, and no numbers"}.items():
        path.write_bytes(content)
        with pytest.raises(AsrKdError, match=rf"a\.npy.* {message}"):
            read_array(path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(AsrKdError, match=r"a\.npy is not an array"):
        read_array(path)
