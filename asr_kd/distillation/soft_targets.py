"""The soft-target store: what a student learns from, cached frame by frame.

For every frame: the k most probable senones of the averaged ensemble, their log probabilities, and for each
temperature in use the logarithm of the mass that the softened posterior gives to all others. Where members
are averaged first and the average is then softened, log probabilities at one temperature serve all of them
(`losses.top_k_teacher` softens them exactly, given the mass of the rest); a mean of softened posteriors is
another target at each temperature, and is stored once for each. How the rest is spread over its senones is
kept in a few bytes more, see `tails`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr_kd.artifacts import Artifact, differences, replace_file
from asr_kd.distillation.ensemble import TEMPERING, average
from asr_kd.distillation.tails import TailShape
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex, create_frames, open_frames

DESCRIPTION_FILE = "targets.json"
MASS_TOLERANCE = 0.01  # of a frame's posteriors, which sum to 1 but for rounding
MOST_SENONES = 1 << 16  # ids are stored as uint16
# Log probabilities are stored as uint8: 0 to -21 nats, what lies below counts as -21.
LEVELS_A_NAT = 12


@dataclass(frozen=True)
class TargetSettings:
    """What decides the content of a store beside teachers and features.

    Attributes:
        average: of the members' posteriors, see `ensemble.average`.
        top_k: senones kept of each frame.
        temperatures: those that students may be trained at, ascending.
        senones: classes of the teachers.
        tempering: the average is softened ("after" averaging), or members are ("before" it).
        tail_rank: dimensions of the `tails.TailShape` of the rest; 0: the rest is one class.
    """

    average: str
    top_k: int
    temperatures: tuple[float, ...]
    senones: int
    tempering: str = "after"
    tail_rank: int = 0

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise AsrKdError(f"distill.top_k={self.top_k}: give at least 1")
        if self.tail_rank < 0:
            raise AsrKdError(f"distill.tail_rank={self.tail_rank}: give 0 or more")
        if self.senones > MOST_SENONES:
            raise AsrKdError(f"soft targets hold at most {MOST_SENONES} senones, not {self.senones}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise AsrKdError(f"temperatures {list(self.temperatures)}: give positive ones, at least one")
        if self.tempering not in TEMPERING:
            raise AsrKdError(
                f"distill.tempering={self.tempering!r} is not known; choose {' or '.join(TEMPERING)}"
            )

    @property
    def kept(self) -> int:
        """Senones stored of each frame: `top_k`, or all where there are fewer."""
        return min(self.top_k, self.senones)

    @property
    def rank(self) -> int:
        """Dimensions stored of the shape of the rest; 0 where there is no rest."""
        return min(self.tail_rank, self.senones - 1) if self.kept < self.senones else 0

    @property
    def stored_at(self) -> tuple[float, ...]:
        """The temperatures that log probabilities are stored at.

        Of an average that is softened afterwards one serves all; the higher it is, the further the levels
        reach.
        """
        return (max(1.0, min(self.temperatures)),) if self.tempering == "after" else self.temperatures

    def stored_for(self, temperature: float) -> float:
        """The temperature of the log probabilities that a student at `temperature` learns from."""
        return self.stored_at[0] if self.tempering == "after" else temperature


class TargetsAt(NamedTuple):
    """What a store holds for one temperature, memory-mapped.

    Attributes:
        ids: ``(frames, k)`` uint16.
        levels: ``(frames, k)`` uint8, see `log_probabilities`, at temperature `stored_at`.
        log_rest: ``(frames,)`` float16, at the temperature asked for.
        tail: ``(frames, rank)`` int8, see `tails`; rank may be 0.
        stored_at: see `losses.top_k_divergence`.
    """

    ids: np.ndarray
    levels: np.ndarray
    log_rest: np.ndarray
    tail: np.ndarray
    stored_at: float

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, as `training.objectives` wants them."""
        found = {"ids": self.ids, "levels": self.levels, "log_rest": self.log_rest}
        return found | ({"tail": self.tail} if self.tail.shape[1] else {})


def quantise(log_probabilities: Tensor) -> Tensor:
    """Levels, uint8, of log probabilities: steps of 1/12 nat, which is 0.0003 nat of divergence."""
    return (log_probabilities * -LEVELS_A_NAT).round().clamp(0, 255).to(torch.uint8)


def log_probabilities(levels: Tensor) -> Tensor:
    """Log probabilities, float32, of levels."""
    return levels.float() / -LEVELS_A_NAT


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
    softened = [(log_posteriors / temperature).log_softmax(-1) for temperature in temperatures]
    return ids, values, torch.stack([log_rest(scores, ids) for scores in softened], dim=-1)


def compress_softened(
    members: Sequence[Tensor], settings: TargetSettings, weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `compress`, of the mean of members that are softened before they are averaged.

    Args:
        members: log posteriors at T = 1, each ``(frames, senones)``.
        settings: kind of average, top k and temperatures.
        weights: of a log-linear average.

    Returns:
        ids ``(frames, k)``, of the average at T = 1; log posteriors ``(frames, temperatures * k)``, each at
        its temperature; log of the rest ``(frames, temperatures)``.
    """
    ids = average(members, settings.average, weights).topk(settings.kept, dim=-1).indices
    softened = [
        average([(member / t).log_softmax(-1) for member in members], settings.average, weights)
        for t in settings.temperatures
    ]
    values = torch.cat([scores.gather(-1, ids) for scores in softened], dim=-1)
    return ids, values, torch.stack([log_rest(scores, ids) for scores in softened], dim=-1)


def log_rest(log_posteriors: Tensor, ids: Tensor) -> Tensor:
    """Logarithm of the mass of all senones but `ids`, ``(frames,)``; minus infinity where none is left."""
    # Summed over the others, not 1 minus the top-k, which would lose small masses to rounding.
    return log_posteriors.scatter(-1, ids, -torch.inf).logsumexp(-1)


class SoftTargets:
    """An open store.

    Attributes:
        index: where each utterance lies.
        settings: what the store holds.
        ids: ``(frames, k)`` uint16.
        levels: ``(frames, k)`` uint8, or ``(frames, temperatures * k)``, see `TargetSettings.stored_at`.
        log_rest: ``(frames, temperatures)`` float16.
        tail: ``(frames, rank)`` int8.
        tail_shape: what `tail` are places in; none: the rank is 0.
    """

    def __init__(self, folder: Path, writable: bool) -> None:
        """Prefer `create`, `reopen` and `open`."""
        try:
            content = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            self.origin: dict[str, str] = content.pop("origin")
            settings = TargetSettings(**{**content, "temperatures": tuple(content["temperatures"])})
            self.index = FrameIndex.load(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AsrKdError(
                f"{folder} is not a soft-target store ({error!r}); delete it and run stage distill again"
            ) from error
        self.folder, self.settings = folder, settings
        arrays = {name: self._map(name, *column, writable) for name, column in _columns(settings).items()}
        self.ids, self.levels = arrays["ids"], arrays["levels"]
        self.log_rest, self.tail = arrays["log_rest"], arrays["tail"]
        rank = settings.rank
        self.tail_shape = TailShape.load(folder, rank, settings.senones) if rank else None

    @classmethod
    def create(
        cls,
        folder: Path,
        index: FrameIndex,
        settings: TargetSettings,
        origin: Mapping[str, str],
        tail_shape: TailShape | None = None,
    ) -> "SoftTargets":
        """Lay a store out in `folder`, to be filled by `write`; one already laid out there is kept.

        Args:
            folder: an artefact in the making.
            index: of the transfer set.
            settings: what to hold.
            origin: digests of what it is made from (teachers, features, labels), by role: `open` compares.
            tail_shape: of `settings.rank` dimensions, where that is not 0.
        """
        description = folder / DESCRIPTION_FILE
        if not description.exists():
            index.save(folder)
            for name, (width, dtype) in _columns(settings).items():
                create_frames(folder / f"{name}.npy", index.total_frames, (width,), dtype).flush()
            if tail_shape is not None:
                tail_shape.save(folder)
            with replace_file(description) as temporary:
                content = {**asdict(settings), "origin": dict(origin)}
                temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return cls.reopen(folder)

    @classmethod
    def reopen(cls, folder: Path) -> "SoftTargets":
        """Open a store that is being filled, for writing."""
        return cls(folder, writable=True)

    @classmethod
    def open(cls, folder: Path, origin: Mapping[str, str] | None = None) -> "SoftTargets":
        """Open a finished store, memory-mapped, every file of it verified.

        Args:
            folder: the artefact.
            origin: what it must have been made from; none: anything.

        Raises:
            AsrKdError: a file is missing or damaged, or its shape or type is not what ``targets.json`` says;
                or the store was made from something else than `origin`: names what.
        """
        Artifact(folder).verify()
        store = cls(folder, writable=False)
        other = differences(store.origin, origin) if origin is not None else []
        if other:
            raise AsrKdError(
                f"{folder}: these soft targets were made from other inputs than today's "
                f"({', '.join(other)}); run stage distill again"
            )
        return store

    def write(
        self,
        utterance_id: str,
        members: Sequence[Tensor],
        weights: Sequence[float] | None = None,
        first: int = 0,
    ) -> None:
        """Fill in one utterance, or a part of it from its frame `first` on.

        Args:
            utterance_id: which.
            members: the teachers' log posteriors, each ``(frames, senones)`` at T = 1.
            weights: of a log-linear average.
            first: frame of the utterance.

        Raises:
            AsrKdError: they are not finite, or do not sum to 1; names the utterance and the teacher.
        """
        for number, member in enumerate(members):
            mass = member.exp().sum(-1)
            # One sum tells whether all are finite, in a fraction of the time of looking at each.
            if not math.isfinite(member.sum()) or (mass - 1.0).abs().max() > MASS_TOLERANCE:
                raise AsrKdError(
                    f"utterance {utterance_id}: the posteriors of teacher {number + 1} of {len(members)} are "
                    f"not finite or do not sum to 1 ({float(mass.min()):.4g} to {float(mass.max()):.4g}); "
                    "train it again, or mend its mapping of senones"
                )
        settings, begin = self.settings, self.index.span(utterance_id).start + first
        span = slice(begin, begin + len(members[0]))
        mean = average(members, settings.average, weights)
        if settings.tempering == "after":
            ids, values, rest = compress(mean, settings.kept, settings.temperatures)
            values /= settings.stored_at[0]
        else:
            ids, values, rest = compress_softened(members, settings, weights)
        self.ids[span] = ids.cpu().numpy()
        self.levels[span] = quantise(values).cpu().numpy()
        self.log_rest[span] = rest.cpu().numpy()
        if self.tail_shape is not None:
            self.tail[span] = self.tail_shape.to(mean.device).encode(mean).cpu().numpy()

    def flush(self) -> None:
        """Bring everything written to disk."""
        for array in self._arrays():
            if isinstance(array, np.memmap):
                array.flush()

    def bytes_a_frame(self) -> float:
        """What a frame takes on disk."""
        return sum(array.nbytes for array in self._arrays()) / max(self.index.total_frames, 1)

    def at(self, temperature: float) -> TargetsAt:
        """What the store holds for one of its temperatures.

        Raises:
            AsrKdError: the store was not made for this temperature; names those it knows.
        """
        settings = self.settings
        if temperature not in settings.temperatures:
            known = ", ".join(map(str, settings.temperatures))
            raise AsrKdError(f"{self.folder} holds targets for temperatures {known}, not {temperature}")
        rest = self.log_rest[:, settings.temperatures.index(temperature)]
        stored_at = settings.stored_for(temperature)
        first = settings.kept * settings.stored_at.index(stored_at)
        levels = self.levels[:, first : first + settings.kept]
        return TargetsAt(self.ids, levels, rest, self.tail, stored_at)

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.ids, self.levels, self.log_rest, self.tail

    def _map(self, name: str, columns: int, dtype: type, writable: bool) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise AsrKdError(f"{path} is missing; delete {self.folder} and run stage distill again")
        array = open_frames(path, self.index, writable)
        if array.shape[1:] != (columns,) or array.dtype != dtype:
            raise AsrKdError(
                f"{path} is {array.dtype} {array.shape}, but {DESCRIPTION_FILE} asks for {columns} columns "
                f"of {np.dtype(dtype)}; delete {self.folder} and run stage distill again"
            )
        return array


def _columns(settings: TargetSettings) -> dict[str, tuple[int, Any]]:
    """The arrays of a store: columns and type by name."""
    return {
        "ids": (settings.kept, np.uint16),
        "levels": (settings.kept * len(settings.stored_at), np.uint8),
        "log_rest": (len(settings.temperatures), np.float16),
        "tail": (settings.rank, np.int8),
    }
