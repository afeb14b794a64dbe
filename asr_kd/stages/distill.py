"""Stage 4, distill: the ensemble's soft targets, the students, and how well all of them classify frames."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, file_digest, fingerprint
from asr_kd.config import Config
from asr_kd.config.schema import StudentConfig, TransferConfig
from asr_kd.distillation.ensemble import check_kind
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.distillation.tails import TailShape
from asr_kd.distillation.teachers import Teachers, specialist_teachers, teacher_models
from asr_kd.distillation.weights import make_weights, weights_folder, weights_made_from
from asr_kd.errors import AsrKdError
from asr_kd.launching import make_launcher
from asr_kd.layout import (
    TAIL,
    TARGETS,
    TRAIN,
    learns_unlabelled,
    member_folders,
    student_folder,
    tail_folder,
    targets_folder,
    transfer_folders,
)
from asr_kd.models.devices import resolve_device
from asr_kd.models.registry import named_settings
from asr_kd.planning import UnsettledError, Wanted
from asr_kd.progress import say
from asr_kd.report import frames as frame_report
from asr_kd.seeding import derive_seed
from asr_kd.stages import frame_quality
from asr_kd.stages.frame_quality import ENSEMBLE, FRAMES, SPECIALISTS
from asr_kd.stages.targets import Store, Tail
from asr_kd.stages.train import data_artifacts, open_labelled, read_senones
from asr_kd.stages.transfer import (
    TransferPart,
    check_transfer,
    data_size,
    open_parts,
    plan_parts,
    training_parts,
    with_targets,
)
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import TrainingJob, optimiser_fingerprint, run_missing
from asr_kd.training.objectives import DistillationObjective

RESERVED = (TARGETS, TAIL, FRAMES, "weights")

Stores = dict[tuple[str, str], Artifact]  # soft targets, by teachers and part


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    _check_students(config, work)
    if config.distill.average == "log-linear":
        yield Wanted(weights_folder(work), lambda: weights_made_from(work, _teacher_inputs(config, work)))
    for name, student in sorted(config.distill.students.items()):
        views, unlabelled = student.transfer.views, learns_unlabelled(config, student)
        yield from plan_parts(config, work, views, unlabelled)
        parts = [one.name for one in transfer_folders(work, views, unlabelled)]
        if student.soft_weight > 0 and _has_tail(config, work):
            yield Wanted(tail_folder(work, student.teachers), partial(_tail_made_from, config, work, student))
        for place, part in enumerate(parts if student.soft_weight > 0 else []):
            path = targets_folder(work, part, student.teachers)
            yield Wanted(path, partial(_targets_made_from, config, work, student, place))
        yield Wanted.by(student_folder(work, name), partial(student_job, config, work, name, {}))
    yield from frame_quality.plan(config, work, lambda: make_teachers(config, work).teachers)


def _has_tail(config: Config, work: Path) -> bool:
    try:
        return target_settings(config, work).rank > 0
    except UnsettledError:  # how many senones there will be is not known
        return config.distill.tail_rank > 0


def _tail_made_from(config: Config, work: Path, student: StudentConfig) -> Mapping[str, Any]:
    return _tail(config, work, _teachers_of(config, work, student)).made_from


def _targets_made_from(config: Config, work: Path, student: StudentConfig, place: int) -> Mapping[str, Any]:
    part = training_parts(config, work, student.transfer.views, learns_unlabelled(config, student))[place]
    return _store(config, work, _teachers_of(config, work, student), part).made_from


def run(config: Config, work: Path) -> None:
    """Write the soft targets that the students of `distill.students` need, the students, and ``frames/``.

    Without students it measures what the ensemble gains.
    """
    _check_students(config, work)
    students = config.distill.students.values()
    names = dict.fromkeys([ENSEMBLE, *(student.teachers for student in students)])
    teachers = {name: _named_teachers(config, work, name) for name in names}
    stores: Stores = {}
    jobs = [
        _student(config, work, name, teachers[student.teachers], stores)
        for name, student in sorted(config.distill.students.items())
    ]
    run_missing(jobs, make_launcher(config), "students")
    frame_quality.run(config, work, teachers[ENSEMBLE].teachers)


@dataclass(frozen=True)
class TeachersOfRecipe:
    """The teachers with what they were made from.

    Attributes:
        name: see `StudentConfig.teachers`.
        teachers: ready to score; a log-linear average has its weights.
        inputs: digests by role: every model and mapping, and the labels that they were trained on.
    """

    name: str
    teachers: Teachers
    inputs: dict[str, str]


def student_job(config: Config, work: Path, name: str, stores: Stores) -> TrainingJob:
    """The training of one student; the soft targets that it needs are made where they are missing.

    Args:
        config: of the recipe.
        work: its folder.
        name: of the student.
        stores: soft targets that are known to be of today; gains what else is needed.
    """
    return _student(config, work, name, _teachers_of(config, work, config.distill.students[name]), stores)


def _teachers_of(config: Config, work: Path, student: StudentConfig) -> TeachersOfRecipe:
    return _named_teachers(config, work, student.teachers)


def _named_teachers(config: Config, work: Path, name: str) -> TeachersOfRecipe:
    if name == ENSEMBLE:
        return make_teachers(config, work)
    if name == SPECIALISTS:
        return make_specialists(config, work)
    member = work / "train" / name
    teachers = Teachers.of([member], read_senones(work), "arithmetic", config.precision)
    return TeachersOfRecipe(name, teachers, _with_labels(work, {name: Artifact(member).digest}))


def _with_labels(work: Path, inputs: dict[str, str]) -> dict[str, str]:
    return inputs | {"labels": Artifact(work / "align" / "labels").digest}


def _teacher_inputs(config: Config, work: Path) -> dict[str, str]:
    models, mappings = teacher_models(config, work)
    names = [folder.name for folder in member_folders(config, work)]
    names += [f"teacher {name}" for name in config.distill.teachers]
    inputs = {name: Artifact(model).digest for name, model in zip(names, models, strict=True)}
    for name, mapping in zip(names, mappings, strict=True):
        if mapping is not None:
            inputs[f"senones of {name}"] = file_digest(mapping)
    return _with_labels(work, inputs)


def make_teachers(config: Config, work: Path) -> TeachersOfRecipe:
    """The members and `distill.teachers`; log-linear weights are learnt where they are missing."""
    inputs = _teacher_inputs(config, work)
    models, mappings = teacher_models(config, work)
    teachers = Teachers(
        models, mappings, read_senones(work), config.distill.average, precision=config.precision
    )
    if config.distill.average == "log-linear":
        device = str(resolve_device(config.device))
        teachers = make_weights(teachers, work, inputs, device)
        say("log-linear weights: " + ", ".join(f"{weight:.3f}" for weight in teachers.weights or ()))
    return TeachersOfRecipe(ENSEMBLE, teachers, inputs)


def make_specialists(config: Config, work: Path) -> TeachersOfRecipe:
    """The generalist and its specialists, for students of `teachers: specialists`."""
    teachers = specialist_teachers(config, work, read_senones(work))
    folders = (*teachers.models, *teachers.specialists)
    inputs = {folder.name: Artifact(folder).digest for folder in folders}
    return TeachersOfRecipe(SPECIALISTS, teachers, _with_labels(work, inputs))


def _store(config: Config, work: Path, teachers: TeachersOfRecipe, part: TransferPart) -> Store:
    """The soft targets of a part of the transfer sets, for all temperatures in use."""
    path, origin = targets_folder(work, part.name, teachers.name), _origin(teachers, part.features)
    # A log-linear average is of several: others have no weights.
    settings = replace(target_settings(config, work), average=teachers.teachers.average)
    tail = _tail(config, work, teachers).make() if settings.rank else None
    return Store(config, path, settings, teachers.teachers, origin, part, tail)


def _tail(config: Config, work: Path, teachers: TeachersOfRecipe) -> Tail:
    """The shape of the rest in all soft targets of these teachers."""
    train, rank = work / "features" / TRAIN, target_settings(config, work).rank
    return Tail(
        config, tail_folder(work, teachers.name), rank, teachers.teachers, _origin(teachers, train), train
    )


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
    teachers = [ENSEMBLE, SPECIALISTS, *(one.name for one in member_folders(config, work))]
    taken = {"gmm", frame_report.MEAN_SINGLE, *teachers}
    for name, student in config.distill.students.items():
        setting = f"distill.students.{name}"
        if name.split("-")[0] in RESERVED:
            raise AsrKdError(f"distill.students: {name!r} is the name of a folder here; choose another name")
        if name in taken:
            raise AsrKdError(f"distill.students: {name!r} is the name of another system; choose another name")
        if student.teachers not in teachers:
            raise AsrKdError(f"{setting}.teachers={student.teachers}: choose one of {', '.join(teachers)}")
        named_settings(config.models, student.model, f"{setting}.model")
        check_transfer(config, student.transfer, f"{setting}.transfer", student.soft_weight > 0)
        _objective(student)


def _objective(student: StudentConfig) -> DistillationObjective:
    return DistillationObjective(
        student.temperature, student.soft_weight, student.hard_weight, student.optimiser.label_smoothing
    )


def _as_stored(
    objective: DistillationObjective, config: Config, work: Path, teachers: str
) -> DistillationObjective:
    """The objective that reads the soft targets of these teachers."""
    settings = target_settings(config, work)
    objective = replace(objective, stored_at=settings.stored_for(objective.temperature))
    if not settings.rank:
        return objective
    shape = TailShape.load(tail_folder(work, teachers), settings.rank, settings.senones)
    return replace(objective, tail_shape=shape)


def _student(
    config: Config,
    work: Path,
    name: str,
    teachers: TeachersOfRecipe,
    stores: Stores,
) -> TrainingJob:
    """The training of a student; `stores` gains the soft targets that it needs."""
    student = config.distill.students[name]
    settings = student.optimiser
    model = named_settings(config.models, student.model, f"distill.students.{name}.model")
    seed = derive_seed(config.seed, "distill", name, student.seed)
    objective = _objective(student)
    soft = student.soft_weight > 0
    unlabelled = learns_unlabelled(config, student)
    parts = training_parts(config, work, student.transfer.views, unlabelled)
    inputs: dict[str, Artifact | str] = {**data_artifacts(work)}
    for part in parts:
        inputs[part.name] = Artifact(part.features)
        if soft:
            key = (student.teachers, part.name)
            if key not in stores:
                stores[key] = _store(config, work, teachers, part).make()
            inputs["targets" if part.name == "train" else f"targets {part.name}"] = stores[key]
    initial = work / "train" / student.initial if student.initial else None
    if initial:
        inputs["initial"] = Artifact(initial)
    content = {
        "model": model,
        "objective": objective.settings(),
        "optimiser": optimiser_fingerprint(settings),
        "transfer": asdict(student.transfer) | {"unlabelled": unlabelled},
        "early_stopping": student.early_stopping,
        "seeds": [seed, config.seed],
    }
    if soft:
        parts = [
            with_targets(part, stores[student.teachers, part.name].path, _origin(teachers, part.features))
            for part in parts
        ]
        objective = _as_stored(objective, config, work, student.teachers)
    temperature = student.temperature if soft else None
    return TrainingJob(
        name=name,
        path=student_folder(work, name),
        made_from=fingerprint("student", content, inputs),
        model=model,
        senones=read_senones(work),
        objective=objective,
        open_data=partial(open_transfer, work, tuple(parts), temperature, student.transfer, config.seed),
        optimiser=settings,
        seed=seed,
        device=str(resolve_device(config.device)),
        initial=initial,
        early_stopping=student.early_stopping,
        data=partial(data_size, tuple(parts)),
    )


def open_transfer(
    work: Path,
    parts: tuple[TransferPart, ...],
    temperature: float | None,
    transfer: TransferConfig,
    seed: int,
) -> tuple[FrameData, FrameData]:
    """What a network is trained on, as `open_parts` has it, and dev."""
    return open_parts(parts, temperature, transfer, seed), open_labelled(work, "dev")
