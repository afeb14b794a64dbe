from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.features.store import create_part, open_part
from asr_kd.frames import FrameIndex

INDEX = FrameIndex.from_lengths(["a", "b"], ["s", "t"], [3, 4])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    create_part(tmp_path, INDEX, 40, 13)
    part = open_part(tmp_path, writable=True)
    part.fbank[part.index.span("b")] = 1.5
    part.mfcc[0] = -2
    again = open_part(tmp_path)
    assert again.index.ids == ("a", "b")
    assert (again.fbank.dtype, again.mfcc.dtype) == (np.float16, np.float32)
    assert again.fbank[:, 39].tolist() == [0, 0, 0, 1.5, 1.5, 1.5, 1.5]
    assert again.mfcc[:2, 12].tolist() == [-2, 0]


def test_is_read_only_unless_asked(tmp_path: Path) -> None:
    create_part(tmp_path, INDEX, 40, 13)
    with pytest.raises(ValueError, match="read-only"):
        open_part(tmp_path).fbank[0] = 1


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="nothing holds no features"):
        open_part(tmp_path / "nothing")


def test_an_array_of_another_length_is_refused(tmp_path: Path) -> None:
    create_part(tmp_path, INDEX, 40, 13)
    np.save(tmp_path / "mfcc.npy", np.zeros((6, 13), np.float32))
    with pytest.raises(AsrKdError, match=r"mfcc\.npy: 6 rows"):
        open_part(tmp_path)
