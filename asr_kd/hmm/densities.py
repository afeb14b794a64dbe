"""The densities of an alignment model: Gaussian mixtures of linearly transformed, spliced cepstra."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.splice import splice

TRANSFORM_FILE = "transform.npy"


@dataclass(frozen=True, eq=False)
class Densities:
    """One Gaussian mixture for each pdf, and the space that they live in.

    Attributes:
        transform: ``(dims, spliced dims)`` float32, from spliced cepstra to what the mixtures model.
        gmms: the mixtures.
    """

    transform: np.ndarray
    gmms: DiagonalGmms

    def features(self, cepstra: np.ndarray) -> np.ndarray:
        """Cepstra ``(frames, cepstra)`` of one utterance, transformed: ``(frames, dims)`` float32."""
        return transformed(self.transform, cepstra)

    def log_likelihoods(self, cepstra: np.ndarray) -> np.ndarray:
        """Log likelihoods ``(frames, pdfs)`` float32 of one utterance's ``(frames, cepstra)``."""
        return self.gmms.log_likelihoods(self.features(cepstra))

    @property
    def parameters(self) -> int:
        """How many numbers these are."""
        gmms = self.gmms
        return self.transform.size + gmms.weights.size + gmms.means.size + gmms.variances.size

    def save(self, folder: Path) -> None:
        """Write ``transform.npy`` and ``gmm.npz``."""
        np.save(folder / TRANSFORM_FILE, self.transform, allow_pickle=False)
        self.gmms.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Densities":
        """Read what `save` wrote.

        Raises:
            AsrKdError: a file is missing or damaged, or the two do not fit each other.
        """
        path = folder / TRANSFORM_FILE
        try:
            transform = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise AsrKdError(f"{path} cannot be read ({error}); run stage align again") from error
        gmms = DiagonalGmms.load(folder)
        if transform.ndim != 2 or len(transform) != gmms.dims:
            raise AsrKdError(f"{path} does not fit the mixtures beside it; run stage align again")
        return cls(transform, gmms)


def transformed(transform: np.ndarray, cepstra: np.ndarray) -> np.ndarray:
    """Spliced cepstra of one utterance, transformed: ``(frames, dims)`` float32."""
    result: np.ndarray = splice(cepstra) @ transform.T
    return result
