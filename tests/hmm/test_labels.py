import struct
from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.hmm.labels import (
    find_labels,
    place_labels,
    read_labels,
    senone_priors,
    utterance_labels,
    write_labels,
)

LABELS = {"ann-1": np.array([3, 0, 70_000], np.int32), "bob-1": np.array([7], np.int32)}


@pytest.mark.parametrize("suffix", [".txt", ".ark"])
def test_written_labels_read_back(tmp_path: Path, suffix: str) -> None:
    write_labels(tmp_path / f"train{suffix}", LABELS.items())
    read = read_labels(find_labels(tmp_path, "train"))
    assert list(read) == list(LABELS)
    for utterance, pdfs in LABELS.items():
        assert read[utterance].dtype == np.int32
        np.testing.assert_array_equal(read[utterance], pdfs)


def test_archives_have_kaldis_bytes(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.ark", [("u", np.array([5, 6]))])
    expected = b"u \0B" + b"".join(b"\x04" + struct.pack("<i", value) for value in (2, 5, 6))
    assert (tmp_path / "a.ark").read_bytes() == expected
    (tmp_path / "text.ark").write_text("u 5 6 \nv 1\n")  # ali-to-pdf ... ark,t:
    assert {key: pdfs.tolist() for key, pdfs in read_labels(tmp_path / "text.ark").items()} == {
        "u": [5, 6],
        "v": [1],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"u \0B\x04\x02\0\0\0\x04\x01\0\0\0", "ends too early"),
        (b"u \0B\x04\xff\xff\xff\xff", "ends too early"),
        (b"u \0BFM ", "not an archive of integers"),
        (b"u \0B\x04\x01\0\0\0\x08\x01\0\0\0", "32-bit"),
        (b"u 1 x\n", "a.ark:1"),
        (b"u 1\nu 2\n", "u occurs twice"),
        (b"u 1 -2\n", "negative"),
    ],
)
def test_damaged_labels_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.ark").write_bytes(content)
    with pytest.raises(AsrKdError, match=message):
        read_labels(tmp_path / "a.ark")


def test_files_are_found_or_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"dev\.txt or dev\.ark, but neither"):
        find_labels(tmp_path, "dev")
    for suffix in (".txt", ".ark"):
        (tmp_path / f"dev{suffix}").touch()
    with pytest.raises(AsrKdError, match="both are there"):
        find_labels(tmp_path, "dev")
    with pytest.raises(AsrKdError, match=r"\.txt or \.ark"):
        write_labels(tmp_path / "dev.gz", [])


def test_labels_go_to_their_frames() -> None:
    index = FrameIndex.from_lengths(["a", "b", "c"], ["s"] * 3, [3, 6, 2])
    labels = {"a": np.array([1, 2, 3]), "b": np.array([4, 5, 6]), "other": np.array([9])}
    flat, missing = place_labels(index, labels)
    # b comes from frames with snip-edges: three fewer, the first one centred on our second.
    assert flat.tolist() == [1, 2, 3, 4, 4, 5, 6, 6, 6, -1, -1]
    assert missing == ["c"]
    assert {utterance: own.tolist() for utterance, own in utterance_labels(index, flat)} == {
        "a": [1, 2, 3],
        "b": [4, 4, 5, 6, 6, 6],
    }
    for wrong in ([1], [1] * 7, []):
        with pytest.raises(AsrKdError, match=r"utterance b: .* labels for 6 frames"):
            place_labels(index, {"b": np.array(wrong, dtype=np.int32)})


def test_priors_are_frequencies_with_a_floor() -> None:
    priors = senone_priors(np.repeat([0, 1, -1], [60, 30, 500]), 3)
    assert priors.dtype == np.float32
    np.testing.assert_allclose(priors, [0.6, 0.3, 0.1], rtol=1e-6)
