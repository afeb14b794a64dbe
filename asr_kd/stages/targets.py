"""Making a soft-target store, for students and for specialists."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config
from asr_kd.distillation.scoring import score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
from asr_kd.distillation.teachers import Teachers
from asr_kd.features.store import FBANK_FILE, open_part
from asr_kd.jobs import resolve_workers
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
) -> Artifact:
    """The soft targets of a part of the transfer sets, made or found up to date.

    Args:
        config: of the recipe.
        path: of the store.
        settings: what it holds.
        teachers: who scores.
        origin: digests of what it is made from, by role.
        part: what is scored.
    """
    content = {**asdict(settings), "weights": teachers.weights, "precision": config.precision}
    if teachers.specialists:
        content["top"] = teachers.top
    made_from = fingerprint("soft targets", content, origin)
    found = find(path, made_from)
    if found is not None:
        say(f"soft targets of {part.name}: up to date")
        return found
    index = open_part(part.features).index
    with create(path, made_from) as folder:
        SoftTargets.create(folder, index, settings, origin)
        device, workers = str(resolve_device(config.device)), resolve_workers(config.workers)
        score_teachers(folder, part.features / FBANK_FILE, index, teachers, device, workers)
    say(f"soft targets of {part.name}: {index.total_frames:,} frames, {teachers.described}")
    return Artifact(path)
