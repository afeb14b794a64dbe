"""Making soft-target stores, for students and for specialists."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config
from asr_kd.distillation.scoring import TailJob, fit_tail, score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import Teachers
from asr_kd.features.store import FBANK_FILE, open_part
from asr_kd.jobs import map_processes, resolve_workers
from asr_kd.models.devices import resolve_device
from asr_kd.progress import say
from asr_kd.stages.transfer import TransferPart


@dataclass(frozen=True)
class Tail:
    """The shape of the rest of all soft targets of some teachers, as it is to be.

    Attributes:
        config: of the recipe.
        path: where it belongs.
        rank: its dimensions.
        teachers: who scores.
        origin: digests of what it is made from, by role.
        train: folder of the features of the training part.
    """

    config: Config
    path: Path
    rank: int
    teachers: Teachers
    origin: Mapping[str, str]
    train: Path

    @property
    def made_from(self) -> dict[str, Any]:
        """The fingerprint."""
        settings = {"rank": self.rank, **_of_teachers(self.teachers)}
        return fingerprint("shape of the rest", settings, self.origin)

    def make(self) -> Artifact:
        """Fit it, or find that it is up to date."""
        found = find(self.path, self.made_from)
        if found is not None:
            return found
        with create(self.path, self.made_from) as folder:
            device = str(resolve_device(self.config.device))
            features, index = self.train / FBANK_FILE, open_part(self.train).index
            job = TailJob(features, index, self.teachers, self.rank, device)
            # In a process of its own, of one thread: the same shape on any machine.
            ((_, shape),) = map_processes(fit_tail, [job], 1, "shape of the rest")
            shape.save(folder)
        return Artifact(self.path)


@dataclass(frozen=True)
class Store:
    """The soft targets of a part of the transfer sets, as they are to be.

    Attributes:
        config: of the recipe.
        path: where they belong.
        settings: what they hold.
        teachers: who scores.
        origin: digests of what they are made from, by role.
        part: what is scored.
        tail: the shape of the rest, see `Tail`; needed where `settings.rank` is not 0.
    """

    config: Config
    path: Path
    settings: TargetSettings
    teachers: Teachers
    origin: Mapping[str, str]
    part: TransferPart
    tail: Artifact | None = None

    @property
    def made_from(self) -> dict[str, Any]:
        """The fingerprint."""
        content = {**asdict(self.settings), **_of_teachers(self.teachers)}
        # Derived from the settings, and still said: levels of such stores used to be at T = 1.
        if self.settings.stored_at != (1.0,):
            content["stored_at"] = self.settings.stored_at
        inputs: dict[str, Artifact | str] = {**self.origin}
        return fingerprint(
            "soft targets", content, inputs | ({"shape of the rest": self.tail} if self.tail else {})
        )

    def make(self) -> Artifact:
        """Score the part, or find that it is up to date."""
        config, part, settings = self.config, self.part, self.settings
        found = find(self.path, self.made_from)
        if found is not None:
            say(f"soft targets of {part.name}: up to date")
            return found
        index = open_part(part.features).index
        with create(self.path, self.made_from) as folder:
            tail = self.tail
            shape = TailShape.load(tail.path, settings.rank, settings.senones) if tail else None
            SoftTargets.create(folder, index, settings, self.origin, shape)
            device, workers = str(resolve_device(config.device)), resolve_workers(config.workers)
            score_teachers(folder, part.features / FBANK_FILE, index, self.teachers, device, workers)
        say(f"soft targets of {part.name}: {index.total_frames:,} frames, {self.teachers.described}")
        return Artifact(self.path)


def _of_teachers(teachers: Teachers) -> dict[str, Any]:
    """The settings that decide what teachers say."""
    settings = {"average": teachers.average, "weights": teachers.weights, "precision": teachers.precision}
    return settings | ({"top": teachers.top} if teachers.specialists else {})
