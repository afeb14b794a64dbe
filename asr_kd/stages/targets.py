"""Making soft-target stores, for students and for specialists."""

from collections.abc import Mapping
from dataclasses import asdict
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


def make_store(
    config: Config,
    path: Path,
    settings: TargetSettings,
    teachers: Teachers,
    origin: Mapping[str, str],
    part: TransferPart,
    tail: Artifact | None = None,
) -> Artifact:
    """The soft targets of a part of the transfer sets, made or found up to date.

    Args:
        config: of the recipe.
        path: of the store.
        settings: what it holds.
        teachers: who scores.
        origin: digests of what it is made from, by role.
        part: what is scored.
        tail: the shape of the rest, see `make_tail`; needed where `settings.rank` is not 0.
    """
    content = {**asdict(settings), **_of_teachers(teachers)}
    inputs: dict[str, Artifact | str] = {**origin} | ({"shape of the rest": tail} if tail else {})
    made_from = fingerprint("soft targets", content, inputs)
    found = find(path, made_from)
    if found is not None:
        say(f"soft targets of {part.name}: up to date")
        return found
    index = open_part(part.features).index
    with create(path, made_from) as folder:
        shape = TailShape.load(tail.path, settings.rank, settings.senones) if tail else None
        SoftTargets.create(folder, index, settings, origin, shape)
        device, workers = str(resolve_device(config.device)), resolve_workers(config.workers)
        score_teachers(folder, part.features / FBANK_FILE, index, teachers, device, workers)
    say(f"soft targets of {part.name}: {index.total_frames:,} frames, {teachers.described}")
    return Artifact(path)


def make_tail(
    config: Config, path: Path, rank: int, teachers: Teachers, inputs: Mapping[str, str], train: Path
) -> Artifact:
    """The shape of the rest of all soft targets of these teachers, made or found up to date.

    Args:
        config: of the recipe.
        path: of the artefact.
        rank: its dimensions.
        teachers: who scores.
        inputs: digests of what it is made from, by role.
        train: folder of the features of the training part.
    """
    made_from = fingerprint("shape of the rest", {"rank": rank, **_of_teachers(teachers)}, inputs)
    found = find(path, made_from)
    if found is not None:
        return found
    device = str(resolve_device(config.device))
    job = TailJob(train / FBANK_FILE, open_part(train).index, teachers, rank, device)
    # In a process of its own, of one thread: the same shape on any machine.
    ((_, shape),) = map_processes(fit_tail, [job], 1, "shape of the rest")
    with create(path, made_from) as folder:
        shape.save(folder)
    return Artifact(path)


def _of_teachers(teachers: Teachers) -> dict[str, Any]:
    """The settings that decide what teachers say."""
    settings = {"average": teachers.average, "weights": teachers.weights, "precision": teachers.precision}
    return settings | ({"top": teachers.top} if teachers.specialists else {})
