"""Stage 4, distill: the ensemble's soft targets, the students, and how well all of them classify frames."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, file_digest, find, fingerprint
from asr_kd.config import Config
from asr_kd.config.schema import StudentConfig, TransferConfig
from asr_kd.distillation.ensemble import check_kind
from asr_kd.distillation.quality import QualityJob, measure_system
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import Teachers, specialist_teachers, teacher_models
from asr_kd.distillation.weights import make_weights
from asr_kd.errors import AsrKdError
from asr_kd.jobs import map_processes, resolve_workers
from asr_kd.layout import (
    TAIL,
    TARGETS,
    TRAIN,
    member_folders,
    sets_folder,
    student_folder,
    tail_folder,
    targets_folder,
)
from asr_kd.models.devices import resolve_device
from asr_kd.models.registry import named_settings
from asr_kd.progress import say
from asr_kd.report import frames as frame_report
from asr_kd.report import specialists as specialists_report
from asr_kd.seeding import derive_seed
from asr_kd.stages.targets import make_store, make_tail
from asr_kd.stages.train import data_artifacts, open_labelled, read_senones
from asr_kd.stages.transfer import TransferPart, check_transfer, open_parts, training_parts, with_targets
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import TrainingJob, optimiser_fingerprint, run_jobs
from asr_kd.training.objectives import DistillationObjective

FRAMES = "frames"  # the folder of what every system makes of the frames of dev and test
ENSEMBLE, SPECIALISTS = "ensemble", "specialists"
RESERVED = (TARGETS, TAIL, FRAMES, "weights")


def run(config: Config, work: Path) -> None:
    """Write the soft targets that the students of `distill.students` need, the students, and ``frames/``."""
    if not config.distill.students:
        say("distill: the recipe has no students")
        return
    _check_students(config, work)
    ensemble = make_teachers(config, work)
    teachers = {ENSEMBLE: ensemble}
    if any(student.teachers == SPECIALISTS for student in config.distill.students.values()):
        teachers[SPECIALISTS] = make_specialists(config, work)
    stores: dict[tuple[str, str], Artifact] = {}
    jobs = [
        _student(config, work, name, teachers[student.teachers], stores)
        for name, student in sorted(config.distill.students.items())
    ]
    run_jobs(jobs, resolve_workers(config.workers), "students")
    measure(config, work, ensemble)


@dataclass(frozen=True)
class TeachersOfRecipe:
    """The teachers with what they were made from.

    Attributes:
        teachers: ready to score; a log-linear average has its weights.
        inputs: digests by role: every model and mapping, and the labels that they were trained on.
    """

    teachers: Teachers
    inputs: dict[str, str]


def student_job(config: Config, work: Path, name: str) -> TrainingJob:
    """The training of one student; the soft targets that it needs are made where they are missing."""
    of_specialists = config.distill.students[name].teachers == SPECIALISTS
    teachers = make_specialists(config, work) if of_specialists else make_teachers(config, work)
    return _student(config, work, name, teachers, {})


def make_teachers(config: Config, work: Path) -> TeachersOfRecipe:
    """The members and `distill.teachers`; log-linear weights are learnt where they are missing."""
    models, mappings = teacher_models(config, work)
    names = [folder.name for folder in member_folders(config, work)]
    names += [f"teacher {name}" for name in config.distill.teachers]
    inputs = {name: Artifact(model).digest for name, model in zip(names, models, strict=True)}
    for name, mapping in zip(names, mappings, strict=True):
        if mapping is not None:
            inputs[f"senones of {name}"] = file_digest(mapping)
    inputs["labels"] = Artifact(work / "align" / "labels").digest
    teachers = Teachers(
        models, mappings, read_senones(work), config.distill.average, precision=config.precision
    )
    if config.distill.average == "log-linear":
        device = str(resolve_device(config.device))
        teachers = make_weights(teachers, work, inputs, device)
        say("log-linear weights: " + ", ".join(f"{weight:.3f}" for weight in teachers.weights or ()))
    return TeachersOfRecipe(teachers, inputs)


def make_specialists(config: Config, work: Path) -> TeachersOfRecipe:
    """The generalist and its specialists, for students of `teachers: specialists`."""
    teachers = specialist_teachers(config, work, read_senones(work))
    folders = (*teachers.models, *teachers.specialists)
    inputs = {folder.name: Artifact(folder).digest for folder in folders}
    return TeachersOfRecipe(teachers, inputs | {"labels": Artifact(work / "align" / "labels").digest})


def make_targets(config: Config, work: Path, teachers: TeachersOfRecipe, part: TransferPart) -> Artifact:
    """The soft targets of a part of the transfer sets, for all temperatures in use."""
    kind = SPECIALISTS if teachers.teachers.specialists else ENSEMBLE
    path, origin = targets_folder(work, part.name, kind), _origin(teachers, part.features)
    settings, tail, train = target_settings(config, work), None, work / "features" / TRAIN
    if settings.rank:
        tail_of, inputs = tail_folder(work, kind), _origin(teachers, train)
        tail = make_tail(config, tail_of, settings.rank, teachers.teachers, inputs, train)
    return make_store(config, path, settings, teachers.teachers, origin, part, tail)


def target_settings(config: Config, work: Path) -> TargetSettings:
    """What the soft-target stores of a recipe hold."""
    distill = config.distill
    used = {student.temperature for student in distill.students.values() if student.soft_weight > 0}
    temperatures = tuple(sorted(used | set(distill.temperatures)))
    return TargetSettings(
        distill.average,
        distill.top_k,
        temperatures,
        read_senones(work),
        distill.tempering,
        distill.tail_rank,
    )


def _origin(teachers: TeachersOfRecipe, features: Path) -> dict[str, str]:
    return {**teachers.inputs, "features": Artifact(features).digest}


def _check_students(config: Config, work: Path) -> None:
    """Refuse what no student can be trained with before the teachers have worked for it."""
    check_kind(config.distill.average)
    taken = {
        "gmm",
        ENSEMBLE,
        SPECIALISTS,
        frame_report.MEAN_SINGLE,
        *(one.name for one in member_folders(config, work)),
    }
    for name, student in config.distill.students.items():
        setting = f"distill.students.{name}"
        if name.split("-")[0] in RESERVED:
            raise AsrKdError(f"distill.students: {name!r} is the name of a folder here; choose another name")
        if name in taken:
            raise AsrKdError(f"distill.students: {name!r} is the name of another system; choose another name")
        if student.teachers not in (ENSEMBLE, SPECIALISTS):
            raise AsrKdError(f"{setting}.teachers={student.teachers}: choose {ENSEMBLE} or {SPECIALISTS}")
        named_settings(config.models, student.model, f"{setting}.model")
        check_transfer(config, student.transfer, f"{setting}.transfer", student.soft_weight > 0)
        _objective(config, student)


def _objective(config: Config, student: StudentConfig) -> DistillationObjective:
    before = config.distill.tempering == "before"
    return DistillationObjective(
        student.temperature,
        student.soft_weight,
        student.hard_weight,
        student.optimiser.label_smoothing,
        stored_at=student.temperature if before else 1.0,
    )


def _with_tail(
    objective: DistillationObjective, config: Config, work: Path, teachers: str
) -> DistillationObjective:
    """The objective with the shape of the rest that is in the soft targets, if any."""
    settings = target_settings(config, work)
    if not settings.rank:
        return objective
    shape = TailShape.load(tail_folder(work, teachers), settings.rank, settings.senones)
    return replace(objective, tail_shape=shape)


def _student(
    config: Config,
    work: Path,
    name: str,
    teachers: TeachersOfRecipe,
    stores: dict[tuple[str, str], Artifact],
) -> TrainingJob:
    """The training of a student; `stores` gains the soft targets that it needs, by teachers and part."""
    student = config.distill.students[name]
    settings = student.optimiser
    model = named_settings(config.models, student.model, f"distill.students.{name}.model")
    seed = derive_seed(config.seed, "distill", name, student.seed)
    objective = _objective(config, student)
    soft = student.soft_weight > 0
    parts = training_parts(config, work, student.transfer.views, student.transfer.unlabelled)
    inputs: dict[str, Artifact | str] = {**data_artifacts(work)}
    for part in parts:
        inputs[part.name] = Artifact(part.features)
        if soft:
            key = (student.teachers, part.name)
            if key not in stores:
                stores[key] = make_targets(config, work, teachers, part)
            inputs["targets" if part.name == "train" else f"targets {part.name}"] = stores[key]
    initial = work / "train" / student.initial if student.initial else None
    if initial:
        inputs["initial"] = Artifact(initial)
    content = {
        "model": model,
        "objective": objective.settings(),
        "optimiser": optimiser_fingerprint(settings),
        "transfer": asdict(student.transfer),
        "early_stopping": student.early_stopping,
        "seeds": [seed, config.seed],
    }
    if soft:
        parts = [
            with_targets(part, stores[student.teachers, part.name].path, _origin(teachers, part.features))
            for part in parts
        ]
        objective = _with_tail(objective, config, work, student.teachers)
    temperature = student.temperature if soft else None
    return TrainingJob(
        name=name,
        path=student_folder(work, name),
        made_from=fingerprint("student", content, inputs),
        model=model,
        senones=read_senones(work),
        objective=objective,
        open_data=partial(_open_data, work, tuple(parts), temperature, student.transfer, config.seed),
        optimiser=settings,
        seed=seed,
        device=str(resolve_device(config.device)),
        initial=initial,
        early_stopping=student.early_stopping,
    )


def _open_data(
    work: Path,
    parts: tuple[TransferPart, ...],
    temperature: float | None,
    transfer: TransferConfig,
    seed: int,
) -> tuple[FrameData, FrameData]:
    return open_parts(parts, temperature, transfer, seed), open_labelled(work, "dev")


def measure(config: Config, work: Path, teachers: TeachersOfRecipe) -> None:
    """Write ``frames/<system>`` of members, ensemble and students, and the table of all."""
    members = {folder.name: folder for folder in member_folders(config, work)}
    students = {name: student_folder(work, name) for name in config.distill.students}
    alone = partial(Teachers.of, senones=read_senones(work), average="arithmetic", precision=config.precision)
    systems = {name: alone([folder]) for name, folder in members.items()}
    if len(teachers.teachers.models) > 1:
        systems[ENSEMBLE] = teachers.teachers
    if config.train.specialists.count:
        systems[SPECIALISTS] = specialist_teachers(config, work, read_senones(work))
    systems |= {name: alone([folder]) for name, folder in students.items()}
    jobs = [_quality_job(config, work, name, system) for name, system in systems.items()]
    stale = [job for job in jobs if find(job.path, job.made_from) is None]
    for _ in map_processes(measure_system, stale, resolve_workers(config.workers), "frames"):
        pass
    described = _described(config, systems)
    frame_report.write(work / "distill" / FRAMES, described, config.seed)
    if config.train.specialists.count:
        names = [one.name for one in described]
        generalist = config.train.specialists.generalist
        specialists_report.write(work / "distill" / FRAMES, names, generalist, config.seed)
    say(f"distill: {work / 'distill' / FRAMES / frame_report.TABLE_FILE}")


def _quality_job(config: Config, work: Path, name: str, system: Teachers) -> QualityJob:
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
    return QualityJob(name, work / "distill" / FRAMES / name, made_from, system, work, device, unseen, sets)


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
