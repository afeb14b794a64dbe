"""The moments of a generalist's posteriors over a part, piece by piece in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asr_kd.artifacts import replace_file
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.frames import FrameIndex
from asr_kd.jobs import map_processes
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.specialists.confusable import Moments

# As many whatever the number of workers: the sums, and with them the sets, are the same to the last bit.
PIECES = 4


@dataclass(frozen=True)
class Piece:
    """Some utterances to score.

    Attributes:
        generalist: its folder.
        features: the part's folder.
        places: of the utterances.
        output: ``.npy`` file to write: the moments, see `_write`.
        device: where to compute.
        precision: of matrix products.
    """

    generalist: Path
    features: Path
    places: tuple[int, ...]
    output: Path
    device: str
    precision: torch.dtype


def posterior_moments(
    generalist: Path,
    features: Path,
    scratch: Path,
    frames: int,
    workers: int,
    device: str,
    precision: torch.dtype,
) -> Moments:
    """Of about `frames` frames of a part, whole utterances spread evenly over it; 0: of all.

    Args:
        generalist: folder of the model.
        features: folder of the part.
        scratch: an artefact in the making; finished pieces in it are not made again.
        frames: how many.
        workers: processes, each of which holds a matrix of senones squared.
        device: where to compute.
        precision: of matrix products.
    """
    index = FrameIndex.load(features)
    places = np.arange(0, len(index), max(1, index.total_frames // frames if frames else 1))
    pieces = [
        Piece(
            generalist, features, tuple(own.tolist()), scratch / f".moments-{number}.npy", device, precision
        )
        for number, own in enumerate(np.array_split(places, PIECES))
        if len(own)
    ]
    waiting = [piece for piece in pieces if not piece.output.exists()]
    for _ in map_processes(add_up, waiting, workers, "posteriors"):
        pass
    total = Moments(np.load(pieces[0].output, mmap_mode="r").shape[1])
    for piece in pieces:
        total.merge(_read(piece.output))
    return total


def add_up(piece: Piece) -> None:
    """Write the moments of a piece; the function of a worker process."""
    torch.set_num_threads(1)
    model, part = load_model(piece.generalist, piece.device), open_part(piece.features)
    moments = Moments(model.senones)
    for place in piece.places:
        scores = log_posteriors(model, part.fbank[part.index.span(place)], precision=piece.precision)
        posteriors = scores.exp().cpu().numpy()
        if not np.isfinite(posteriors).all():
            raise AsrKdError(
                f"utterance {part.index.ids[place]}: posteriors of {piece.generalist} that are not finite "
                "numbers; train it again"
            )
        moments.add(posteriors)
    with replace_file(piece.output) as temporary, temporary.open("wb") as file:
        rows = np.full((1, model.senones), moments.frames, np.float64)
        np.save(file, np.vstack([rows, moments.first[None], moments.second]), allow_pickle=False)


def _read(path: Path) -> Moments:
    """What `add_up` wrote: frames, first and second moments, one under the other."""
    rows = np.load(path, allow_pickle=False)
    moments = Moments(rows.shape[1])
    moments.frames, moments.first, moments.second = int(rows[0, 0]), rows[1], rows[2:]
    return moments
