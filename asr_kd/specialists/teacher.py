"""Specialists in memory: what they make of a generalist's posteriors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError
from asr_kd.models.inference import log_posteriors_at
from asr_kd.models.storage import load_model
from asr_kd.specialists.inference import Opinion, active_specialists, combine
from asr_kd.specialists.sets import Specialty


class LoadedSpecialists:
    """The specialists of one generalist.

    Args:
        folders: of the specialists.
        senones: of the generalist.
        top: specialists have a say where their set holds one of so many most probable senones.
        device: where to compute.
        precision: of matrix products.

    Raises:
        AsrKdError: a specialist was made for another number of senones.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        senones: int,
        top: int,
        device: str,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self._top, self._precision = top, precision
        self._models = [load_model(folder, device) for folder in folders]
        self._specialties = [Specialty.read(folder) for folder in folders]
        self._members = torch.zeros(len(folders), senones, dtype=torch.bool, device=device)
        for place, (folder, specialty) in enumerate(zip(folders, self._specialties, strict=True)):
            if specialty.senones != senones:
                raise AsrKdError(
                    f"{folder} was made for {specialty.senones} senones, its generalist knows {senones}: "
                    "run stage train again"
                )
            self._members[place, list(specialty.classes)] = True
        self.parameter_count = sum(model.parameter_count for model in self._models)

    def opinions(self, frames: np.ndarray, log_generalist: Tensor) -> list[Opinion]:
        """What the specialists say, each of the frames that it is active on.

        Args:
            frames: features ``(frames, dims)``.
            log_generalist: ``(frames, senones)``.
        """
        active = active_specialists(log_generalist, self._members, self._top)
        opinions = []
        for place, (model, specialty) in enumerate(zip(self._models, self._specialties, strict=True)):
            where = active[:, place].nonzero()[:, 0]
            if len(where):
                scores = log_posteriors_at(model, frames, where, self._precision)
                shift = scores.new_zeros(scores.size(1))
                shift[-1] = specialty.dustbin_shift
                classes = torch.tensor(specialty.classes, device=where.device)
                opinions.append(Opinion(where, classes, (scores + shift).log_softmax(1)))
        return opinions

    def combine(self, frames: np.ndarray, log_generalist: Tensor) -> Tensor:
        """Log posteriors ``(frames, senones)`` of generalist and specialists together."""
        return combine(log_generalist, self.opinions(frames, log_generalist))
