"""Specialists, as part of stage 3: their sets, and their training beside each other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config, TransferConfig
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.distillation.teachers import Teachers, specialist_sets
from asr_kd.errors import AsrKdError
from asr_kd.hmm.definition import HmmDefinition
from asr_kd.hmm.labels import count_labels
from asr_kd.hmm.senone_names import senone_names
from asr_kd.jobs import map_processes, resolve_workers
from asr_kd.launching import make_launcher
from asr_kd.layout import (
    generalist_folder,
    member_folders,
    sets_folder,
    specialist_folder,
    specialist_targets_folder,
    transfer_folders,
)
from asr_kd.models.devices import resolve_device, resolve_precision
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.specialists.confusable import correlation, make_sets, prepare_columns
from asr_kd.specialists.picture import draw_sets, write_table
from asr_kd.specialists.sets import SpecialistSets
from asr_kd.specialists.statistics import posterior_moments
from asr_kd.stages.targets import Store
from asr_kd.stages.transfer import TransferPart, data_size, open_parts, with_targets
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import optimiser_fingerprint, run_missing
from asr_kd.training.specialists import SpecialistJob

_KEPT = 20  # senones of the generalist's soft targets that are kept of a frame
_COVARIANCE_FILE = ".covariance.npy"


def plan(
    config: Config,
    work: Path,
    parts: Callable[[], list[TransferPart]],
    open_dev: Callable[[], FrameData],
    inputs: Mapping[str, Artifact],
    senones: Callable[[], int],
) -> Iterator[Wanted]:
    """What `run` makes, see there and `planning`."""
    settings, path = config.train.specialists, sets_folder(work)
    if not settings.count:
        return
    _check(config, work)
    yield Wanted(path, partial(_sets_made_from, config, work))

    def stores() -> list[Store]:
        return _stores(config, work, parts(), senones()) if settings.soft_rest else []

    names = [one.name for one in transfer_folders(work, config.train.views)]
    for place, name in enumerate(names if settings.soft_rest else []):
        yield Wanted(specialist_targets_folder(work, name), lambda place=place: stores()[place].made_from)  # type: ignore[misc]

    def job(number: int) -> SpecialistJob:
        taught = _taught(stores()) or parts()
        return _job(config, work, number, SpecialistSets.read(path), taught, open_dev, inputs)

    for number, folder in enumerate(specialist_sets(work)):
        yield Wanted.by(folder, partial(job, number))


def run(
    config: Config,
    work: Path,
    parts: list[TransferPart],
    open_dev: Callable[[], FrameData],
    inputs: Mapping[str, Artifact],
    senones: int,
) -> None:
    """Make ``train/specialist-sets`` and ``train/specialist-<i>``, where `train.specialists.count` asks.

    Args:
        config: of the recipe.
        work: its folder, with the members.
        parts: what the generalist was trained on.
        open_dev: gives the dev part; called in worker processes.
        inputs: the artefacts of training and dev data and labels, by role.
        senones: of the recipe.
    """
    settings = config.train.specialists
    if not settings.count:
        return
    _check(config, work)
    sets = _make_sets(config, work, senones)
    stores = _stores(config, work, parts, senones) if settings.soft_rest else []
    for store in stores:
        store.make()
    taught = _taught(stores) or parts
    jobs = [_job(config, work, number, sets, taught, open_dev, inputs) for number in range(len(sets.sets))]
    run_missing(jobs, make_launcher(config), "specialists")


def _check(config: Config, work: Path) -> None:
    settings, members = config.train.specialists, [folder.name for folder in member_folders(config, work)]
    if settings.generalist not in members:
        raise AsrKdError(
            f"train.specialists.generalist={settings.generalist}: there is no such member; "
            f"there are {', '.join(members)}"
        )
    if not 0.0 < settings.share <= 1.0:
        raise AsrKdError(f"train.specialists.share={settings.share}: give a number above 0 and at most 1")
    for name, least in (("count", 0), ("size", 0), ("statistics_frames", 0), ("top", 1), ("soft_rest", 0)):
        if getattr(settings, name) < least:
            raise AsrKdError(f"train.specialists.{name}={getattr(settings, name)}: give at least {least}")


def _sets_made_from(config: Config, work: Path) -> dict[str, Any]:
    settings = config.train.specialists
    content = {
        "count": settings.count,
        "size": settings.size,
        "columns": settings.columns,
        "statistics_frames": settings.statistics_frames,
        "seed": derive_seed(config.seed, "specialists"),
        "precision": config.precision,
    }
    folders = {
        "generalist": generalist_folder(config, work),
        "train": work / "features" / "train",
        "labels": work / "align" / "labels",
    }
    return fingerprint(
        "specialist sets", content, {role: Artifact(folder) for role, folder in folders.items()}
    )


def _make_sets(config: Config, work: Path, senones: int) -> SpecialistSets:
    settings, path, features = config.train.specialists, sets_folder(work), work / "features" / "train"
    generalist, labels = generalist_folder(config, work), work / "align" / "labels"
    seed, made_from = derive_seed(config.seed, "specialists"), _sets_made_from(config, work)
    if find(path, made_from) is not None:
        say("specialist-sets: up to date")
        return SpecialistSets.read(path)
    device = resolve_device(config.device)
    with create(path, made_from) as folder:
        moments = posterior_moments(
            generalist,
            features,
            folder,
            settings.statistics_frames,
            resolve_workers(config.workers),
            str(device),
            resolve_precision(config.precision, device, "precision"),
        )
        np.save(folder / _COVARIANCE_FILE, moments.covariance(), allow_pickle=False)
        model = work / "align" / "model"
        job = _Clustering(
            folder,
            labels / "train.npy",
            senones,
            (settings.count, settings.size, settings.columns, seed),
            model if model.is_dir() and not config.align.hclg else None,
        )
        # In a process with one thread: the same sets on every machine size.
        for _ in map_processes(_cluster, [job], 1, "specialist sets"):
            pass
    sets = SpecialistSets.read(path)
    say(
        f"specialist-sets: {len(sets.sets)} sets of {settings.count} asked for, {moments.frames:,} frames; "
        f"{int((sets.covering > 0).sum())} of {senones} senones are in one ({path / 'sets.md'})"
    )
    return sets


@dataclass(frozen=True)
class _Clustering:
    """The sets to make from a covariance.

    Attributes:
        folder: an artefact in the making, with the covariance.
        labels: ``.npy`` file of the training part's.
        senones: of the recipe.
        settings: count, size, columns and seed, see `make_sets`.
        model: folder of the alignment model that gives senones their names; none: they have numbers.
    """

    folder: Path
    labels: Path
    senones: int
    settings: tuple[int, int, str, int]
    model: Path | None


def _cluster(job: _Clustering) -> None:
    covariance = np.load(job.folder / _COVARIANCE_FILE, allow_pickle=False)
    labels = np.load(job.labels, mmap_mode="r", allow_pickle=False)
    frames = count_labels(labels, job.senones)
    count, size, columns, seed = job.settings
    found = make_sets(prepare_columns(covariance, columns), count, size, seed, frames)
    sets, correlated = SpecialistSets.of(found, job.senones), correlation(covariance)
    names = [f"senone {senone}" for senone in range(job.senones)]
    if job.model is not None:
        names = senone_names(HmmDefinition.load(job.model))
    sets.write(job.folder)
    write_table(job.folder, sets, names, correlated, frames)
    draw_sets(job.folder, sets, correlated)


def generalist_targets(senones: int) -> TargetSettings:
    """What the stores of the generalist's soft targets hold; what they leave out counts for the dustbin."""
    return TargetSettings("arithmetic", _KEPT, (1.0,), senones)


def _taught(stores: list[Store]) -> list[TransferPart]:
    """The parts with their soft targets."""
    return [with_targets(store.part, store.path, store.origin) for store in stores]


def _stores(config: Config, work: Path, parts: list[TransferPart], senones: int) -> list[Store]:
    """The generalist's soft targets of all parts, for all specialists."""
    generalist, labels = generalist_folder(config, work), Artifact(work / "align" / "labels")
    teachers = Teachers.of([generalist], senones, "arithmetic", config.precision)
    settings, found = generalist_targets(senones), list[Store]()
    for part in parts:
        origin = {
            "generalist": Artifact(generalist).digest,
            "labels": labels.digest,
            "features": Artifact(part.features).digest,
        }
        found.append(
            Store(config, specialist_targets_folder(work, part.name), settings, teachers, origin, part)
        )
    return found


def _job(
    config: Config,
    work: Path,
    number: int,
    sets: SpecialistSets,
    parts: list[TransferPart],
    open_dev: Callable[[], FrameData],
    inputs: Mapping[str, Artifact],
) -> SpecialistJob:
    settings, path = config.train.specialists, specialist_folder(work, number)
    generalist = generalist_folder(config, work)
    seed = derive_seed(config.seed, "train", "specialist", number)
    content = {
        "classes": sets.sets[number],
        "senones": sets.senones,
        "soft_rest": settings.soft_rest,
        "share": settings.share,
        "optimiser": optimiser_fingerprint(settings.optimiser),
        "seeds": [seed, config.seed],
    }
    own = {**inputs, "generalist": Artifact(generalist)}
    own |= {part.name: Artifact(part.features) for part in parts}
    own |= {f"targets {part.name}": Artifact(part.targets) for part in parts if part.targets}
    temperature = 1.0 if settings.soft_rest else None
    return SpecialistJob(
        name=path.name,
        path=path,
        made_from=fingerprint("specialist", content, own),
        generalist=generalist,
        classes=sets.sets[number],
        senones=sets.senones,
        soft_rest=settings.soft_rest,
        share=settings.share,
        open_data=partial(_open_data, tuple(parts), temperature, config.seed, open_dev),
        optimiser=settings.optimiser,
        seed=seed,
        device=str(resolve_device(config.device)),
        data=partial(data_size, tuple(parts)),
    )


def _open_data(
    parts: tuple[TransferPart, ...], temperature: float | None, seed: int, open_dev: Callable[[], FrameData]
) -> tuple[FrameData, FrameData]:
    return open_parts(parts, temperature, TransferConfig(), seed), open_dev()
