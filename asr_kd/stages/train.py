"""Stage 3, train: the members of the ensemble, then specialists."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from asr_kd.artifacts import Artifact, fingerprint
from asr_kd.config import Config, SlurmConfig, TransferConfig
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import Job
from asr_kd.launching import make_launcher
from asr_kd.layout import member_folders
from asr_kd.models.devices import resolve_device
from asr_kd.models.registry import named_settings
from asr_kd.planning import Wanted, check_settled
from asr_kd.seeding import derive_seed
from asr_kd.stages import specialists
from asr_kd.stages.transfer import (
    TransferPart,
    check_views,
    data_size,
    open_parts,
    plan_parts,
    training_parts,
)
from asr_kd.training.data import FrameData, PerFrame, labelled
from asr_kd.training.jobs import TrainingJob, missing, optimiser_fingerprint, stack
from asr_kd.training.objectives import HardObjective


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    check_views(config, config.train.views, "train.views")
    yield from plan_parts(config, work, config.train.views)
    for number, folder in enumerate(member_folders(config, work)):
        yield Wanted.by(folder, partial(_planned_member, config, work, number, folder))
    parts = partial(training_parts, config, work, config.train.views)
    dev, senones = partial(open_labelled, work, "dev"), partial(read_senones, work)
    yield from specialists.plan(config, work, parts, dev, data_artifacts(work), senones)


def _planned_member(config: Config, work: Path, number: int, folder: Path) -> TrainingJob:
    return _member(config, work, number, folder, training_parts(config, work, config.train.views))


def run(config: Config, work: Path) -> None:
    """Train `train.members` models, each a job and an artefact ``train/member-<i>``."""
    if config.train.members < 1 or not config.train.models:
        raise AsrKdError("train.members and train.models: give at least one member and one model")
    check_views(config, config.train.views, "train.views")
    parts = training_parts(config, work, config.train.views)
    jobs = [
        _member(config, work, number, folder, parts)
        for number, folder in enumerate(member_folders(config, work))
    ]
    waiting = missing(jobs)
    # A job of Slurm makes one artefact.
    apart = isinstance(config.launcher, SlurmConfig)
    batch: Sequence[Job] = waiting if apart else stack(waiting, config.train.stacked)
    make_launcher(config).map(batch, "members")
    dev = partial(open_labelled, work, "dev")
    specialists.run(config, work, parts, dev, data_artifacts(work), read_senones(work))


def data_artifacts(work: Path) -> dict[str, Artifact]:
    """What every model is trained on, by role."""
    return {
        "train": Artifact(work / "features" / "train"),
        "dev": Artifact(work / "features" / "dev"),
        "labels": Artifact(work / "align" / "labels"),
    }


def read_senones(work: Path) -> int:
    """The number of classes of the alignment."""
    check_settled(work / "align" / "labels")
    summary = work / "align" / "labels" / "summary.json"
    if not summary.is_file():
        raise AsrKdError(f"{summary} is not there; run stage align")
    return int(json.loads(summary.read_text(encoding="utf-8"))["senones"])


def open_labels(folder: Path, part: str, index: FrameIndex) -> np.ndarray:
    """Memory-map the senone labels of a part, ``(frames,)`` int32."""
    path = folder / f"{part}.npy"
    if not path.is_file():
        raise AsrKdError(f"{path} is not there; run stage align")
    return open_frames(path, index)


def open_labelled(work: Path, part: str, labels: Path | None = None) -> FrameData:
    """Features and labels of a part; utterances whose alignment failed are left out.

    Args:
        work: folder of the recipe.
        part: train, dev or test.
        labels: folder of the labels; None: those that stage align leaves.
    """
    features = open_part(work / "features" / part)
    own = PerFrame(features.index, open_labels(labels or work / "align" / "labels", part, features.index))
    return FrameData(
        PerFrame(features.index, features.fbank),
        {"labels": own},
        labelled(own),
    )


def dev_features(work: Path, utterances: int) -> list[np.ndarray]:
    """The features ``(frames, dims)`` of so many dev utterances, spread over its speakers."""
    part = open_part(work / "features" / "dev")
    step = max(1, len(part.index) // utterances)
    return [part.fbank[part.index.span(place)] for place in range(0, len(part.index), step)]


def _member(config: Config, work: Path, number: int, folder: Path, parts: list[TransferPart]) -> TrainingJob:
    settings, names = config.train.optimiser, config.train.models
    model = named_settings(config.models, names[number % len(names)], "train.models")
    seed = derive_seed(config.seed, "train", "member", number)
    inputs = data_artifacts(work) | {part.name: Artifact(part.features) for part in parts}
    made_from = fingerprint(
        "member", {"model": model, "optimiser": optimiser_fingerprint(settings), "seed": seed}, inputs
    )
    return TrainingJob(
        name=folder.name,
        path=folder,
        made_from=made_from,
        model=model,
        senones=read_senones(work),
        objective=HardObjective(settings.label_smoothing),
        open_data=partial(_open_data, work, tuple(parts), config.seed),
        optimiser=settings,
        seed=seed,
        device=str(resolve_device(config.device)),
        data=partial(data_size, tuple(parts)),
    )


def _open_data(work: Path, parts: tuple[TransferPart, ...], seed: int) -> tuple[FrameData, FrameData]:
    return open_parts(parts, None, TransferConfig(), seed), open_labelled(work, "dev")
