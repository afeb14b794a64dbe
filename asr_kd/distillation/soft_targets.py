"""The soft-target store: what a student learns from, cached frame by frame.

For every frame: the k most probable senones of the averaged ensemble, their log probabilities at T = 1, and
for each temperature in use the logarithm of the mass that the softened posterior gives to all others.
Members are averaged at T = 1 and the average is then softened; a mean of softened posteriors would need every
member's logits and is a different target. Given the mass of the rest, the softened top-k follow exactly:
``p_T(i) = (1 - rest_T) * p(i)^(1/T) / sum over the top-k of p(j)^(1/T)``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex, create_frames, open_frames

DESCRIPTION_FILE = "targets.json"
MOST_SENONES = 1 << 16  # ids are stored as uint16


@dataclass(frozen=True)
class TargetSettings:
    """What decides the content of a store beside teachers and features.

    Attributes:
        average: of the members' posteriors, see `ensemble.average`.
        top_k: senones kept of each frame.
        temperatures: those that students may be trained at, ascending.
        senones: classes of the teachers.
    """

    average: str
    top_k: int
    temperatures: tuple[float, ...]
    senones: int

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise AsrKdError(f"distill.top_k={self.top_k}: give at least 1")
        if self.senones > MOST_SENONES:
            raise AsrKdError(f"soft targets hold at most {MOST_SENONES} senones, not {self.senones}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise AsrKdError(f"temperatures {list(self.temperatures)}: give positive ones, at least one")

    @property
    def kept(self) -> int:
        """Columns of the store: `top_k`, or all senones where there are fewer."""
        return min(self.top_k, self.senones)


def compress(
    log_posteriors: Tensor, top_k: int, temperatures: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The k most probable senones of each frame and the mass of the others at each temperature.

    Args:
        log_posteriors: ``(frames, senones)`` at T = 1.
        top_k: how many to keep; at most the number of senones.
        temperatures: see `TargetSettings`.

    Returns:
        ids ``(frames, top_k)`` int64, most probable first; their log posteriors at T = 1 ``(frames, top_k)``;
        log of the rest ``(frames, temperatures)``, minus infinity where nothing is left.
    """
    values, ids = log_posteriors.topk(top_k, dim=-1)
    rests = []
    for temperature in temperatures:
        softened = (log_posteriors / temperature).log_softmax(-1)
        # Summed over the others, not 1 minus the top-k, which would lose small masses to rounding.
        rests.append(softened.scatter(-1, ids, -torch.inf).logsumexp(-1))
    return ids, values, torch.stack(rests, dim=-1)


class SoftTargets:
    """An open store.

    Attributes:
        index: where each utterance lies.
        settings: what the store holds.
        ids: ``(frames, k)`` uint16.
        log_probabilities: ``(frames, k)`` float16, at T = 1.
        log_rest: ``(frames, temperatures)`` float16.
    """

    def __init__(self, folder: Path, index: FrameIndex, settings: TargetSettings, writable: bool) -> None:
        self.folder, self.index, self.settings = folder, index, settings
        self.ids = self._open("ids.npy", settings.kept, np.uint16, writable)
        self.log_probabilities = self._open("log_probabilities.npy", settings.kept, np.float16, writable)
        self.log_rest = self._open("log_rest.npy", len(settings.temperatures), np.float16, writable)

    @classmethod
    def create(
        cls, folder: Path, index: FrameIndex, settings: TargetSettings, origin: dict[str, Any]
    ) -> "SoftTargets":
        """Lay a store out in `folder`, to be filled by `write`; one already laid out there is kept.

        Args:
            folder: an artefact in the making.
            index: of the transfer set.
            settings: what to hold.
            origin: fingerprints of teachers and features, for the record.
        """
        description = folder / DESCRIPTION_FILE
        if not description.exists():
            index.save(folder)
            columns = {"ids": np.uint16, "log_probabilities": np.float16}
            for name, dtype in columns.items():
                create_frames(folder / f"{name}.npy", index.total_frames, (settings.kept,), dtype).flush()
            rest = (len(settings.temperatures),)
            create_frames(folder / "log_rest.npy", index.total_frames, rest, np.float16).flush()
            content = {**asdict(settings), "origin": origin}
            description.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return cls.open(folder, writable=True)

    @classmethod
    def open(cls, folder: Path, writable: bool = False) -> "SoftTargets":
        """Open a store, memory-mapped.

        Raises:
            AsrKdError: a file is missing, or its shape or type is not what ``targets.json`` says.
        """
        try:
            content = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            content.pop("origin")
            settings = TargetSettings(**{**content, "temperatures": tuple(content["temperatures"])})
            index = FrameIndex.load(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AsrKdError(
                f"{folder} is not a soft-target store ({error!r}); delete it and run stage distill again"
            ) from error
        return cls(folder, index, settings, writable)

    def write(self, utterance_id: str, log_posteriors: Tensor) -> None:
        """Fill in one utterance from the ensemble's log posteriors ``(frames, senones)`` at T = 1."""
        if not torch.isfinite(log_posteriors).all():
            raise AsrKdError(
                f"utterance {utterance_id}: the teachers' posteriors are not finite; train them again"
            )
        span = self.index.span(utterance_id)
        ids, values, rest = compress(log_posteriors, self.settings.kept, self.settings.temperatures)
        self.ids[span] = ids.cpu().numpy()
        self.log_probabilities[span] = values.cpu().numpy()
        self.log_rest[span] = rest.cpu().numpy()

    def flush(self) -> None:
        """Bring everything written to disk."""
        for array in (self.ids, self.log_probabilities, self.log_rest):
            if isinstance(array, np.memmap):
                array.flush()

    def rest_at(self, temperature: float) -> np.ndarray:
        """``(frames,)`` float16: logarithm of the rest at one of the store's temperatures.

        Raises:
            AsrKdError: the store was not made for this temperature; names those it knows.
        """
        if temperature not in self.settings.temperatures:
            known = ", ".join(map(str, self.settings.temperatures))
            raise AsrKdError(f"{self.folder} holds targets for temperatures {known}, not {temperature}")
        return self.log_rest[:, self.settings.temperatures.index(temperature)]

    def _open(self, name: str, columns: int, dtype: type, writable: bool) -> np.ndarray:
        path = self.folder / name
        if not path.is_file():
            raise AsrKdError(f"{path} is missing; delete {self.folder} and run stage distill again")
        array = open_frames(path, self.index, writable)
        if array.shape[1:] != (columns,) or array.dtype != dtype:
            raise AsrKdError(
                f"{path} is {array.dtype} {array.shape}, but {DESCRIPTION_FILE} asks for {columns} columns "
                f"of {np.dtype(dtype)}; delete {self.folder} and run stage distill again"
            )
        return array
