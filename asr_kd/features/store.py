"""The frame store: the features of one part of a corpus, flat over frames, memory-mapped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.frames import INDEX_FILE, FrameIndex, create_frames, open_frames

FBANK_FILE = "fbank.npy"
MFCC_FILE = "mfcc.npy"


@dataclass(frozen=True, eq=False)
class Part:
    """The features of one part.

    Attributes:
        index: where each utterance lies.
        fbank: ``(frames, mel_bins)`` float16, mean 0 and variance 1 by speaker or by utterance.
        mfcc: ``(frames, cepstra)`` float32, mean 0 by speaker; without deltas.
    """

    index: FrameIndex
    fbank: np.ndarray
    mfcc: np.ndarray


def create_part(folder: Path, index: FrameIndex, mel_bins: int, cepstra: int) -> Part:
    """A new part, to be filled; `open_part` opens it in other processes too."""
    index.save(folder)
    return Part(
        index,
        create_frames(folder / FBANK_FILE, index.total_frames, (mel_bins,), np.float16),
        create_frames(folder / MFCC_FILE, index.total_frames, (cepstra,), np.float32),
    )


def open_part(folder: Path, writable: bool = False) -> Part:
    """Memory-map the features in ``features/<part>``.

    Raises:
        AsrKdError: the folder is not there, or its files do not belong together.
    """
    if not (folder / INDEX_FILE).is_file():
        raise AsrKdError(f"{folder} holds no features; run stage `features`")
    index = FrameIndex.load(folder)
    return Part(
        index,
        open_frames(folder / FBANK_FILE, index, writable),
        open_frames(folder / MFCC_FILE, index, writable),
    )
