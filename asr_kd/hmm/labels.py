"""Senone labels: priors, and exchange with Kaldi as text or binary archives of pdf-ids."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex

# Frames that belong to no senone, because their utterance could not be aligned.
NO_LABEL = -1
# Senones seen in fewer frames than this count as seen so often: dividing by their prior must not boost noise.
PRIOR_FLOOR_FRAMES = 10.0
# Kaldi's frames with snip-edges lack up to three at the ends of an utterance; ours sit on a full grid.
MAX_MISSING_FRAMES = 3
SUFFIXES = (".txt", ".ark")
BLOCK_FRAMES = 1_000_000  # looked at together, where there may be any number
_ELEMENT = np.dtype([("width", "i1"), ("value", "<i4")])


def senone_priors(labels: np.ndarray, senones: int) -> np.ndarray:
    """Relative frequencies of senones in training labels ``(frames,)``, floored.

    Returns:
        ``(senones,)`` float32, all positive, summing to 1.
    """
    counts = np.maximum(count_labels(labels, senones).astype(np.float64), PRIOR_FLOOR_FRAMES)
    return (counts / counts.sum()).astype(np.float32)


def count_labels(labels: np.ndarray, senones: int) -> np.ndarray:
    """How many of ``(frames,)`` labels each senone has, ``(senones,)`` int64."""
    counts = np.zeros(senones, np.int64)
    for first in range(0, len(labels), BLOCK_FRAMES):
        block = labels[first : first + BLOCK_FRAMES]
        counts += np.bincount(block[block != NO_LABEL], minlength=senones)
    return counts


def utterance_labels(index: FrameIndex, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The labels of every utterance that has them, for `write_labels`."""
    for utterance, span in index.spans():
        if NO_LABEL not in labels[span]:
            yield utterance, labels[span]


def write_labels(path: Path, labels: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write pdf-ids for Kaldi: text (``.txt``: ``utterance pdf pdf ...``) or a binary archive (``.ark``).

    Args:
        path: the file; its suffix decides the format.
        labels: utterance ids with ``(frames,)`` integer pdf-ids.

    Raises:
        AsrKdError: the suffix is another.
    """
    _check_suffix(path)
    with path.open("wb") as file:
        for utterance, pdfs in labels:
            file.write(f"{utterance} ".encode())
            file.write(_binary(pdfs) if path.suffix == ".ark" else (" ".join(map(str, pdfs)) + "\n").encode())


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """Read pdf-ids, ``(frames,)`` int32, from a text file or a binary or text archive of Kaldi.

    Raises:
        AsrKdError: the file is missing or damaged; names the utterance or line.
    """
    _check_suffix(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AsrKdError(f"{path} cannot be read ({error.strerror}); check align.labels") from error
    _, _, after_key = content.partition(b" ")
    pairs = _read_binary(path, content) if after_key.startswith(b"\0B") else _read_text(path, content)
    labels: dict[str, np.ndarray] = {}
    for utterance, pdfs in pairs:
        if utterance in labels:
            raise AsrKdError(f"{path}: utterance {utterance} occurs twice")
        if np.any(pdfs < 0):
            raise AsrKdError(f"{path}: utterance {utterance} has negative pdf-ids")
        labels[utterance] = pdfs
    return labels


def place_labels(index: FrameIndex, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Lay labels by utterance on the frame axis.

    Labels of frames with snip-edges, up to three fewer, are moved by one frame and repeated at the ends.

    Returns:
        ``(frames,)`` int32, -1 in utterances without labels, and the ids of those.

    Raises:
        AsrKdError: the labels of an utterance are too many or too few.
    """
    flat = np.full(index.total_frames, NO_LABEL, dtype=np.int32)
    missing = []
    for utterance, span in index.spans():
        if utterance not in labels:
            missing.append(utterance)
            continue
        own, frames = labels[utterance], span.stop - span.start
        lacking = frames - len(own)
        if not 0 <= lacking <= MAX_MISSING_FRAMES or not len(own):
            raise AsrKdError(
                f"utterance {utterance}: {len(own)} labels for {frames} frames; "
                "align with the same frame shift (10 ms) and the same audio"
            )
        before = min(lacking, 1)
        flat[span] = np.pad(own, (before, lacking - before), mode="edge")
    return flat, missing


def find_labels(folder: Path, part: str) -> Path:
    """The file ``<part>.txt`` or ``<part>.ark`` in `folder`.

    Raises:
        AsrKdError: there is none, or both.
    """
    found = [path for suffix in SUFFIXES if (path := folder / f"{part}{suffix}").is_file()]
    if len(found) != 1:
        problem = "both are there: keep one" if found else "neither is there"
        raise AsrKdError(f"align.labels={folder} should hold {part}.txt or {part}.ark, but {problem}")
    return found[0]


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise AsrKdError(f"{path}: labels are read and written as .txt or .ark")


def _binary(pdfs: np.ndarray) -> bytes:
    # Kaldi's BasicVectorHolder: a mark, then the length and every element as a width byte and an int32.
    table = np.zeros(len(pdfs) + 1, dtype=_ELEMENT)
    table["width"] = 4
    table["value"] = [len(pdfs), *pdfs]
    return b"\0B" + table.tobytes()


def _read_binary(path: Path, content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    position = 0
    while position < len(content):
        end = content.find(b" ", position)
        key = content[position:end].decode(errors="replace").strip()
        header = content[end + 1 : end + 8]
        if end < 0 or len(header) < 7 or header[:3] != b"\0B\x04":
            raise AsrKdError(f"{path}: not an archive of integers near byte {position}")
        (length,) = struct.unpack("<i", header[3:])
        position = end + 8
        if not 0 <= length * _ELEMENT.itemsize <= len(content) - position:
            raise AsrKdError(f"{path}: utterance {key}: the archive ends too early")
        table = np.frombuffer(content, dtype=_ELEMENT, count=length, offset=position)
        if np.any(table["width"] != 4):
            raise AsrKdError(f"{path}: utterance {key}: not a vector of 32-bit integers")
        yield key, table["value"].astype(np.int32)
        position += table.nbytes


def _read_text(path: Path, content: bytes) -> Iterator[tuple[str, np.ndarray]]:
    for number, line in enumerate(content.splitlines(), start=1):
        fields = line.split()
        try:
            yield fields[0].decode(), np.array([int(field) for field in fields[1:]], dtype=np.int32)
        except (ValueError, IndexError, OverflowError) as error:
            raise AsrKdError(f"{path}:{number}: not a line `utterance pdf-id pdf-id ...`") from error
