"""Audio of any format, sample rate and number of channels, in portions of constant size."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from asr_kd.corpus.audio import (
    AUDIO_SUFFIXES,
    RAW_FORMAT,
    RAW_SUFFIX,
    check_header,
    check_name,
    read_pieces,
)
from asr_kd.errors import AsrKdError

STANDARD_INPUT = "-"
# About so much is read at once, whatever the length of the file.
BLOCK_SECONDS = 1.0


def find_audio(names: list[str]) -> list[str]:
    """The files that names of files, folders and ``-`` (standard input) stand for, those of a folder sorted.

    Raises:
        AsrKdError: there is no such file, or a folder has no audio.
    """
    found: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
            if not inside:
                raise AsrKdError(f"{name}: no audio in this folder ({', '.join(AUDIO_SUFFIXES)})")
            found += inside
        elif name == STANDARD_INPUT or path.is_file():
            found.append(name)
        else:
            raise AsrKdError(f"{name}: no such file or folder")
    for name in found:
        check_name(name)
    return found


def read_blocks(name: str, sample_rate: int) -> Iterator[np.ndarray]:
    """The samples of a file (or of a whole file from standard input) at `sample_rate`.

    Yields:
        ``(samples,)`` float32 in [-1, 1], the mean of all channels.

    Raises:
        AsrKdError: the file is no audio, damaged, or holds samples that are not finite; names it.
    """
    if name == STANDARD_INPUT:
        with tempfile.TemporaryFile() as copy:  # formats are told apart by seeking, which a pipe cannot
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield from _decode(name, copy, sample_rate)
    else:
        try:
            with Path(name).open("rb") as file:
                yield from _decode(name, file, sample_rate)
        except OSError as error:
            raise AsrKdError(f"{name} cannot be read ({error.strerror})") from error


def read_raw(file: BinaryIO, rate: int, sample_rate: int, block_seconds: float) -> Iterator[np.ndarray]:
    """Samples as they come in: 16-bit little-endian, one channel, `rate` hertz, without header.

    Yields:
        As `read_blocks`, of about `block_seconds` each.
    """
    convert = _Converter(rate, sample_rate)
    rest = b""
    read = getattr(file, "read1", file.read)  # what is there, without waiting for more
    while content := read(2 * max(1, round(rate * block_seconds))):
        content = rest + content
        whole = len(content) // 2 * 2
        rest = content[whole:]
        yield convert(np.frombuffer(content[:whole], "<i2").astype(np.float32) / 32768.0)
    yield convert(np.zeros(0, np.float32), last=True)


def _decode(name: str, file: BinaryIO, sample_rate: int) -> Iterator[np.ndarray]:
    raw = RAW_FORMAT if Path(name).suffix.lower() == RAW_SUFFIX else {}
    try:
        with soundfile.SoundFile(file, **raw) as sound:
            check_header(sound, name)
            convert = _Converter(sound.samplerate, sample_rate)
            block = round(sound.samplerate * BLOCK_SECONDS)
            for samples in read_pieces(sound, name, sound.frames, block):
                yield convert(samples)
            yield convert(np.zeros(0, np.float32), last=True)
    except soundfile.SoundFileError as error:
        raise AsrKdError(f"{name} is not audio that can be read, or it is damaged: {error}") from error


class _Converter:
    """From one sample rate to another, portion by portion."""

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = (
            None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, quality="HQ")
        )

    def __call__(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        if self._stream is None:
            return samples
        converted: np.ndarray = self._stream.resample_chunk(samples, last=last)
        return converted
