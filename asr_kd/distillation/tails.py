"""The shape of the rest: how teachers spread what the top k leaves over all other senones.

Log posteriors of a network are a linear function of its last hidden layer, so those of an ensemble lie close
to a plane of few dimensions, and a frame's place in that plane tells how even the least probable senones
compare. The plane is found by principal components on a sample of the training part; of every frame the store
keeps one byte a dimension.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError

SHAPE_FILE = "tail_shape.npy"
_LARGEST_CODE = 127


@dataclass(frozen=True, eq=False)
class TailShape:
    """A plane of log posteriors at T = 1, up to a constant a frame.

    Attributes:
        mean: ``(senones,)`` float32.
        directions: ``(rank, senones)`` float32, orthogonal rows, each as long as one step of its code.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def fit(cls, log_posteriors: Tensor, rank: int) -> "TailShape":
        """The plane of `rank` dimensions that is nearest to a sample, by principal components.

        Args:
            log_posteriors: ``(frames, senones)`` at T = 1.
            rank: at least 1, at most the number of senones.
        """
        centred = _centred(log_posteriors.double())
        mean = centred.mean(0)
        centred -= mean
        found = _principal_components(centred, rank)
        # The sign of an eigenvector is arbitrary: its largest element is made positive.
        largest = found.gather(1, found.abs().argmax(1, keepdim=True))
        found = found * largest.sign()
        # The largest place of the sample gets the largest code; what lies further out is clipped.
        steps = (centred @ found.T).abs().amax(0).clamp(min=1e-6) / _LARGEST_CODE
        return cls(mean.float(), (found * steps[:, None]).float())

    @property
    def rank(self) -> int:
        """Dimensions of the plane."""
        return len(self.directions)

    def encode(self, log_posteriors: Tensor) -> Tensor:
        """The nearest places in the plane, ``(frames, rank)`` int8; of ``(frames, senones)``."""
        along = (_centred(log_posteriors.float()) - self.mean) @ self.directions.T
        codes = along / self.directions.square().sum(1)
        return codes.round().clamp(-_LARGEST_CODE, _LARGEST_CODE).to(torch.int8)

    def decode(self, codes: Tensor, temperature: float = 1.0) -> Tensor:
        """Log posteriors softened by a temperature, up to a constant a frame.

        Args:
            codes: ``(frames, rank)`` int8.
            temperature: 1: as they were.

        Returns:
            ``(frames, senones)`` float32.
        """
        # The small arrays are divided, not the large one.
        return torch.addmm(self.mean / temperature, codes.float(), self.directions / temperature)

    def to(self, device: torch.device) -> "TailShape":
        """On another device."""
        return TailShape(self.mean.to(device), self.directions.to(device))

    def save(self, folder: Path) -> None:
        """Write ``tail_shape.npy``: the mean, then the directions."""
        rows = torch.cat([self.mean[None], self.directions])
        np.save(folder / SHAPE_FILE, rows.cpu().numpy(), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, rank: int, senones: int) -> "TailShape":
        """Read ``tail_shape.npy``.

        Raises:
            AsrKdError: it is not there, or not of these sizes.
        """
        path = folder / SHAPE_FILE
        try:
            rows = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise AsrKdError(f"{path} cannot be read ({error}); run stage distill again") from error
        if rows.shape != (rank + 1, senones) or rows.dtype != np.float32:
            raise AsrKdError(
                f"{path} is {rows.dtype} {rows.shape}, not float32 {(rank + 1, senones)}; "
                f"delete {folder} and run stage distill again"
            )
        tensor = torch.from_numpy(rows)
        return cls(tensor[0], tensor[1:])


def _centred(log_posteriors: Tensor) -> Tensor:
    return log_posteriors - log_posteriors.mean(-1, keepdim=True)


def _principal_components(centred: Tensor, rank: int) -> Tensor:
    """Orthonormal rows ``(rank, senones)``, the first with most of the variance of ``(frames, senones)``."""
    frames, senones = centred.shape
    if rank <= frames < senones:
        # Products of frames have the same eigenvalues; those of many thousand senones would take an hour.
        _, vectors = torch.linalg.eigh(centred @ centred.T)
        return torch.linalg.qr(centred.T @ vectors[:, -rank:].flip(1)).Q.T
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return vectors.T[-rank:].flip(0)
