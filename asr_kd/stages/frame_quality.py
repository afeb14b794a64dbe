"""The part of stage distill that measures how well every system classifies frames of dev and test."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, file_digest, find, fingerprint
from asr_kd.config import Config
from asr_kd.config.schema import TransferConfig
from asr_kd.costs import BYTES_A_SAMPLED_SCORE, scoring_memory
from asr_kd.distillation.quality import PARTS, QualityJob, measure_system
from asr_kd.distillation.teachers import Teachers, sampled_frames, specialist_teachers, teacher_models
from asr_kd.frames import FrameIndex
from asr_kd.jobs import Cost, map_processes, resolve_workers
from asr_kd.layout import member_folders, sets_folder, student_folder
from asr_kd.models.devices import resolve_device
from asr_kd.models.registry import named_settings
from asr_kd.models.storage import stored_bytes
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.report import frames as frame_report
from asr_kd.report import specialists as specialists_report
from asr_kd.stages.train import read_senones

FRAMES = "frames"  # the folder of what every system makes of the frames of dev and test
ENSEMBLE, SPECIALISTS = "ensemble", "specialists"


def plan(config: Config, work: Path, ensemble: Callable[[], Teachers]) -> Iterator[Wanted]:
    """What `run` makes, see `planning`; `ensemble` gives the teachers once they are there."""
    for name in _system_names(config, work):
        yield Wanted(_folder(work, name), partial(_made_from, config, work, name, ensemble))


def _made_from(config: Config, work: Path, name: str, ensemble: Callable[[], Teachers]) -> Mapping[str, Any]:
    return _job(config, work, name, _systems(config, work, ensemble())[name]).made_from


def run(config: Config, work: Path, ensemble: Teachers) -> None:
    """Write ``frames/<system>`` of members, ensemble and students, and the table of all."""
    systems = _systems(config, work, ensemble)
    jobs = [_job(config, work, name, system) for name, system in systems.items()]
    stale = [job for job in jobs if find(job.path, job.made_from) is None]
    workers, cost = resolve_workers(config.workers), _cost(work, systems.values())
    for _ in map_processes(measure_system, stale, workers, "frames", cost=cost):
        pass
    described = _described(config, systems)
    frame_report.write(work / "distill" / FRAMES, described, config.seed)
    if config.train.specialists.count:
        generalist = config.train.specialists.generalist
        specialists_report.write(work / "distill" / FRAMES, described, generalist, config.seed)
    else:
        specialists_report.remove(work / "distill" / FRAMES)
    say(f"distill: {work / 'distill' / FRAMES / frame_report.TABLE_FILE}")


def _cost(work: Path, systems: Iterable[Teachers]) -> Cost:
    """Of a worker: it scores whole utterances, and keeps the scores of a sample."""
    lengths = [FrameIndex.load(work / "features" / part).lengths.max() for part in PARTS]
    dev = FrameIndex.load(work / "features" / "dev")
    private = []
    for system in systems:
        models, senones = stored_bytes(*system.models, *system.specialists), system.senones
        scores = sampled_frames(dev, system) * senones * len(system.models)
        private.append(
            scoring_memory(int(max(lengths)), senones, models, len(system.models))
            + scores * BYTES_A_SAMPLED_SCORE
        )
    return Cost(max(private, default=0))


def _folder(work: Path, name: str) -> Path:
    return work / "distill" / FRAMES / name


def _system_names(config: Config, work: Path) -> list[str]:
    ensemble = [ENSEMBLE] if len(teacher_models(config, work)[0]) > 1 else []
    specialists = [SPECIALISTS] if config.train.specialists.count else []
    members = [folder.name for folder in member_folders(config, work)]
    return [*members, *ensemble, *specialists, *config.distill.students]


def _systems(config: Config, work: Path, ensemble: Teachers) -> dict[str, Teachers]:
    """Members, ensemble, specialists and students, by the names of `_system_names`."""
    folders = {folder.name: folder for folder in member_folders(config, work)}
    folders |= {name: student_folder(work, name) for name in config.distill.students}
    alone = partial(Teachers.of, senones=read_senones(work), average="arithmetic", precision=config.precision)
    systems = {}
    for name in _system_names(config, work):
        if name == ENSEMBLE:
            systems[name] = ensemble
        elif name == SPECIALISTS:
            systems[name] = specialist_teachers(config, work, read_senones(work))
        else:
            systems[name] = alone([folders[name]])
    return systems


def _job(config: Config, work: Path, name: str, system: Teachers) -> QualityJob:
    labels = Artifact(work / "align" / "labels")
    inputs: dict[str, Artifact | str] = {"labels": labels}
    inputs |= {part: Artifact(work / "features" / part) for part in ("dev", "test")}
    for place, (model, mapping) in enumerate(zip(system.models, system.mappings, strict=True)):
        inputs[f"model {place}"] = Artifact(model)
        if mapping is not None:
            inputs[f"senones of {place}"] = file_digest(mapping)
    student = config.distill.students.get(name)
    unseen = _unseen(student.transfer, system.senones) if student else ()
    settings: dict[str, Any] = {
        "average": system.average,
        "weights": system.weights,
        "precision": system.precision,
        "unseen": unseen,
    }
    sets = sets_folder(work) if config.train.specialists.count else None
    if sets is not None:
        inputs["specialist sets"] = Artifact(sets)
        inputs |= {specialist.name: Artifact(specialist) for specialist in system.specialists}
        settings |= {"top": system.top}
    made_from = fingerprint("frames", settings, inputs)
    device = str(resolve_device(config.device))
    return QualityJob(name, _folder(work, name), made_from, system, work, device, unseen, sets)


def _unseen(transfer: TransferConfig, senones: int) -> tuple[int, ...]:
    """The classes that a transfer set leaves out by its settings."""
    kept = set(transfer.labels or range(senones)) - set(transfer.without_labels)
    return tuple(sorted(set(range(senones)) - kept))


def _described(config: Config, systems: dict[str, Teachers]) -> list[frame_report.Described]:
    """The systems with what the table says of them."""
    described = []
    for name in systems:
        student = config.distill.students.get(name)
        kind: Any = "student" if student else name if name in (ENSEMBLE, SPECIALISTS) else "member"
        settings: dict[str, Any] = {}
        if student:
            settings = asdict(student) | {"model": named_settings(config.models, student.model, name)}
            kind = "student" if student.soft_weight > 0 else "control"
        described.append(frame_report.Described(name, kind, settings))
    return described
