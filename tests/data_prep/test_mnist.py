import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from asr_kd.config import DataConfig
from asr_kd.errors import AsrKdError
from data_prep import mnist


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for stem, count in (("train", 80), ("t10k", 30)):
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", random.integers(256, size=(count, 28, 28)))
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return tmp_path


def test_every_image_is_a_frame_and_an_eighth_is_held_out(digits: Path) -> None:
    parts = mnist.frames(DataConfig(source=str(digits)), digits)
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 70, "dev": 10, "test": 30}
    assert (len(parts["train"].ids), len(parts["test"].ids)) == (70, 1)
    for part in parts.values():
        assert part.features.shape == (len(part.labels), 784) and part.features.dtype == np.float16
        assert part.features.min() >= 0 and part.features.max() <= 1
        assert sum(part.lengths) == len(part.labels) and part.classes == 10
    images = mnist.read_idx(digits / "t10k-images-idx3-ubyte.gz")
    np.testing.assert_allclose(parts["test"].features[7], images[7].ravel() / 255, atol=5e-4)
    assert parts["test"].labels.tolist() == [number % 10 for number in range(30)]


def test_damaged_files_are_named(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = digits / "t10k-labels-idx1-ubyte.gz"
    write_idx(path, np.arange(29) % 10)
    with pytest.raises(AsrKdError, match=r"t10k: images .* do not belong together"):
        mnist.frames(DataConfig(source=str(digits)), digits)
    path.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"))
    with pytest.raises(AsrKdError, match=r"t10k-labels.* its header says"):
        mnist.frames(DataConfig(source=str(digits)), digits)
    path.write_bytes(b"not gzip")
    with pytest.raises(AsrKdError, match=r"t10k-labels.* is not a gzipped IDX file"):
        mnist.frames(DataConfig(source=str(digits)), digits)
    whole = gzip.compress(np.random.default_rng(0).bytes(5000))
    path.write_bytes(whole[:1000] + bytes(100) + whole[1100:])
    with pytest.raises(AsrKdError, match=r"t10k-labels.* is not a gzipped IDX file"):
        mnist.frames(DataConfig(source=str(digits)), digits)
    monkeypatch.setattr(mnist, "MOST_BYTES", 1000)
    write_idx(path, np.zeros(2000))
    with pytest.raises(AsrKdError, match=r"t10k-labels.*: 992 bytes, but its header says"):
        mnist.read_idx(path)
    path.unlink()
    with pytest.raises(AsrKdError, match="t10k-labels"):
        mnist.frames(DataConfig(source=str(digits)), digits)
