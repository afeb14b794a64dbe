"""The teachers of a recipe: its members, and models made elsewhere with senones mapped to the recipe's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from asr_kd.artifacts import Artifact
from asr_kd.config import Config
from asr_kd.distillation.ensemble import SHARES_TOLERANCE, average, fit_log_linear, map_senones
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.frames import FrameIndex, open_frames, read_array
from asr_kd.layout import generalist_folder, member_folders, sets_folder, specialist_folder
from asr_kd.models import AcousticModel
from asr_kd.models.devices import resolve_precision
from asr_kd.models.inference import log_posteriors, log_posteriors_together
from asr_kd.models.storage import load_model
from asr_kd.planning import check_settled
from asr_kd.specialists.sets import SpecialistSets, Specialty
from asr_kd.specialists.teacher import LoadedSpecialists

Scores = TypeVar("Scores")

# Scores of a sample of dev that weights and temperatures are learnt on; 20 million are 160 MB in float64,
# and a few thousand frames are plenty for a handful of numbers.
_SAMPLE_SCORES = 20_000_000
_MOST_SAMPLED_FRAMES = 20_000


@dataclass(frozen=True)
class Teachers:
    """The models whose average is the teacher. Small: worker processes load them by `loaded`.

    Attributes:
        models: their folders.
        mappings: for each, the file of its senone mapping, or None where its senones are the recipe's.
        senones: classes of the recipe.
        average: see `ensemble.average`.
        weights: of a log-linear average, one a model.
        precision: of their matrix products, see `models.devices.resolve_precision`.
        specialists: folders of the specialists of the only model, the generalist.
        top: of the generalist's senones, that choose which specialists have a say.
    """

    models: tuple[Path, ...]
    mappings: tuple[Path | None, ...]
    senones: int
    average: str
    weights: tuple[float, ...] | None = None
    precision: str = "fp32"
    specialists: tuple[Path, ...] = ()
    top: int = 1

    @property
    def described(self) -> str:
        """Who they are, for messages."""
        if self.specialists:
            return f"{self.models[0].name} and {len(self.specialists)} specialists"
        return f"average of {len(self.models)} teachers"

    @classmethod
    def of(cls, models: Sequence[Path], senones: int, average: str, precision: str = "fp32") -> "Teachers":
        """Teachers whose senones are the recipe's, not weighted."""
        return cls(tuple(models), (None,) * len(models), senones, average, precision=precision)


def teacher_models(config: Config, work: Path) -> tuple[tuple[Path, ...], tuple[Path | None, ...]]:
    """The folders of a recipe's teachers and the files of their senone mappings: members, then the others."""
    members, others = member_folders(config, work), config.distill.teachers.values()
    models = (*members, *(Path(one.model).expanduser() for one in others))
    own = (Path(one.senones).expanduser() if one.senones else None for one in others)
    return models, ((None,) * len(members) + tuple(own))


def specialist_teachers(config: Config, work: Path, senones: int) -> Teachers:
    """The generalist and its specialists as one teacher.

    Raises:
        AsrKdError: the recipe has no specialists, or they are not trained or not for its sets.
    """
    settings = config.train.specialists
    if not settings.count:
        raise AsrKdError("train.specialists.count=0: the recipe has no specialists; give a number of sets")
    folders = checked_specialists(config, work)
    teachers = Teachers.of([generalist_folder(config, work)], senones, "arithmetic", config.precision)
    return replace(teachers, specialists=folders, top=settings.top)


def checked_specialists(config: Config, work: Path) -> tuple[Path, ...]:
    """The folders of a recipe's specialists.

    Raises:
        AsrKdError: one is not trained, or of another set or generalist than today's: a stage train that
            failed may have left it.
    """
    sets, generalist = specialist_sets(work), generalist_folder(config, work)
    for folder, classes in sets.items():
        made_from = Artifact(folder).manifest["fingerprint"]["inputs"]
        if Specialty.read(folder).classes != classes:
            raise AsrKdError(f"{folder} is of another set than today's; run stage train again")
        if made_from["generalist"] != Artifact(generalist).digest:
            raise AsrKdError(
                f"{folder} comes from another {generalist.name} than today's; run stage train again"
            )
    return tuple(sets)


def specialist_sets(work: Path) -> dict[Path, tuple[int, ...]]:
    """The senones of every set, by the folder where its specialist belongs; in the order of the sets."""
    check_settled(sets_folder(work))
    sets = SpecialistSets.read(sets_folder(work)).sets
    return {specialist_folder(work, number): classes for number, classes in enumerate(sets)}


class LoadedTeachers:
    """Teachers in memory.

    Raises:
        AsrKdError: a model reads other features than the first, has senones of its own and no mapping, or a
            mapping that does not fit.
    """

    def __init__(self, teachers: Teachers, device: str) -> None:
        self.teachers = teachers
        self._precision = resolve_precision(teachers.precision, torch.device(device), "precision")
        self._models = [load_model(folder, device) for folder in teachers.models]
        for folder, model in zip(teachers.models, self._models, strict=True):
            if model.input_dims != self._models[0].input_dims:
                raise AsrKdError(
                    f"{folder} reads {model.input_dims} features a frame, {teachers.models[0]} "
                    f"{self._models[0].input_dims}: teachers must share their features"
                )
        self._mappings = [self._mapping(place).to(device) for place in range(len(self._models))]
        self.specialists = LoadedSpecialists(
            teachers.specialists, teachers.senones, teachers.top, device, self._precision
        )

    @cached_property
    def parameter_count(self) -> int:
        """Of all models."""
        return sum(model.parameter_count for model in self._models) + self.specialists.parameter_count

    @property
    def context(self) -> int:
        """Frames that posteriors depend on, to either side."""
        return max(max(model.left_context, model.right_context) for model in self._models)

    def members(self, frames: np.ndarray) -> list[Tensor]:
        """Log posteriors of one utterance at T = 1, each ``(frames, senones)``.

        Generalist and specialists are one member.

        Args:
            frames: features ``(frames, dims)``.
        """
        pairs = zip(self._models, self._mappings, strict=True)
        own = [self._posteriors(model, mapping, frames) for model, mapping in pairs]
        return [self.specialists.combine(frames, own[0])] if self.teachers.specialists else own

    def members_together(self, utterances: Sequence[np.ndarray]) -> list[list[Tensor]]:
        """As `members` of each utterance, in one pass of every model."""
        if len(utterances) == 1 or self.teachers.specialists:
            return [self.members(frames) for frames in utterances]
        scored = [
            [map_senones(one, mapping) if len(mapping) else one for one in own]
            for model, mapping in zip(self._models, self._mappings, strict=True)
            for own in [log_posteriors_together(model, utterances, self._precision)]
        ]
        return [list(members) for members in zip(*scored, strict=True)]

    def mean(self, frames: np.ndarray) -> Tensor:
        """The average's log posteriors at T = 1, ``(frames, senones)``."""
        members = self.members(frames)
        single = len(members) == 1 and self.teachers.weights is None
        return members[0] if single else average(members, self.teachers.average, self.teachers.weights)

    def _posteriors(self, model: AcousticModel, mapping: Tensor, frames: np.ndarray) -> Tensor:
        own = log_posteriors(model, np.array(frames), precision=self._precision)
        return map_senones(own, mapping) if len(mapping) else own

    def _mapping(self, place: int) -> Tensor:
        """A teacher's senone mapping; empty where it needs none."""
        model, folder = self._models[place], self.teachers.models[place]
        path, senones = self.teachers.mappings[place], self.teachers.senones
        if path is None:
            if model.senones != senones:
                raise AsrKdError(
                    f"{folder} knows {model.senones} senones, but the labels have {senones}: it was trained "
                    "on other labels; run its stage again, or give distill.teachers.<name>.senones: a mapping"
                )
            return torch.empty(0)
        mapping = torch.from_numpy(_read_mapping(path, senones))
        if len(mapping) != model.senones:
            raise AsrKdError(f"{path}: {len(mapping)} rows, but teacher {folder} has {model.senones} senones")
        return mapping


@lru_cache(maxsize=1)
def loaded(teachers: Teachers, device: str) -> LoadedTeachers:
    """Load teachers, once a process."""
    return LoadedTeachers(teachers, device)


def learn_weights(teachers: Teachers, features: Path, labels: Path, device: str) -> Teachers:
    """The teachers with the log-linear weights of least cross entropy on dev.

    Args:
        teachers: of average "log-linear".
        features: the folder of the features of dev.
        labels: ``.npy`` file of its labels.
        device: where to compute.
    """
    models = loaded(teachers, device)
    index = FrameIndex.load(features)
    members, wanted = [], []
    for scores, own in sample(models.members, features, labels, sampled_frames(index, teachers)):
        members.append([member.cpu() for member in scores])
        wanted.append(own)
    joined = [torch.cat(pieces) for pieces in zip(*members, strict=True)]
    return replace(teachers, weights=tuple(fit_log_linear(joined, torch.cat(wanted))))


def sampled_frames(index: FrameIndex, teachers: Teachers) -> int:
    """How many frames of dev to look at."""
    return sample_size(index.total_frames, teachers.senones, len(teachers.models))


def sample_size(frames: int, senones: int, models: int = 1) -> int:
    """How many of some frames to look at, with scores of some models."""
    return min(frames, max(1000, _SAMPLE_SCORES // (senones * models)), _MOST_SAMPLED_FRAMES)


def sample(
    score: Callable[[np.ndarray], Scores], features: Path, labels: Path, frames: int
) -> Iterator[tuple[Scores, Tensor]]:
    """Scores and labels of whole utterances spread evenly over a part, about `frames` frames of it.

    Args:
        score: from features ``(frames, dims)``.
        features: folder of the part's features.
        labels: ``.npy`` file of its labels.
        frames: how many.
    """
    part = open_part(features)
    wanted = open_frames(labels, part.index)
    for place in part.index.sample(frames):
        span = part.index.span(place)
        yield score(part.fbank[span]), torch.from_numpy(np.array(wanted[span]))


def _read_mapping(path: Path, senones: int) -> np.ndarray:
    """``(own, senones)`` float64 shares."""
    mapping = read_array(path)
    if mapping.ndim == 1 and np.issubdtype(mapping.dtype, np.integer):
        if len(mapping) and not 0 <= mapping.min() <= mapping.max() < senones:
            raise AsrKdError(
                f"{path}: maps to senones {mapping.min()} to {mapping.max()}; the recipe has {senones}"
            )
        return np.eye(senones)[mapping]
    if mapping.ndim != 2 or mapping.shape[1] != senones:
        raise AsrKdError(f"{path}: shape {mapping.shape}; give (own,) integers or (own, {senones}) shares")
    shares: np.ndarray = mapping.astype(np.float64)
    wrong = np.flatnonzero(~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < SHARES_TOLERANCE)))
    if len(wrong):
        raise AsrKdError(f"{path}: row {wrong[0]} holds no shares that sum to 1")
    return shares
