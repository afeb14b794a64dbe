"""Stage 4, distill: the ensemble's soft targets, and the students trained on them."""

from functools import partial
from pathlib import Path

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config
from asr_kd.config.schema import StudentConfig
from asr_kd.distillation.ensemble import check_kind
from asr_kd.distillation.scoring import score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
from asr_kd.errors import AsrKdError
from asr_kd.features.store import FBANK_FILE, open_part
from asr_kd.jobs import resolve_workers
from asr_kd.layout import member_folders, student_folder
from asr_kd.models.devices import resolve_device
from asr_kd.models.registry import named_settings
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.stages.train import (
    data_artifacts,
    open_labelled,
    open_labels,
    read_senones,
)
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.jobs import TrainingJob, optimiser_fingerprint, run_jobs
from asr_kd.training.objectives import DistillationObjective

TARGETS = "targets"  # the folder of the store, beside the students'


def run(config: Config, work: Path) -> None:
    """Write ``distill/targets`` for the training part, then train every student of `distill.students`."""
    if not config.distill.students:
        say("distill: the recipe has no students")
        return
    _check_students(config)
    targets = make_targets(config, work)
    jobs = [
        _student(config, work, name, student, targets)
        for name, student in sorted(config.distill.students.items())
    ]
    run_jobs(jobs, resolve_workers(config.workers), "students")


def make_targets(config: Config, work: Path) -> Artifact:
    """The soft targets of the training part, for all temperatures in use."""
    members = [Artifact(folder) for folder in member_folders(config, work)]
    features = Artifact(work / "features" / "train")
    temperatures = tuple(sorted({student.temperature for student in config.distill.students.values()}))
    settings = TargetSettings(
        config.distill.average, config.distill.top_k, temperatures, senones=read_senones(work)
    )
    inputs = {"features": features, **{member.path.name: member for member in members}}
    made_from = fingerprint("soft targets", settings, inputs)
    path = work / "distill" / TARGETS
    found = find(path, made_from)
    if found is not None:
        say("soft targets: up to date")
        return found
    device = str(resolve_device(config.device))
    index = open_part(features.path).index
    with create(path, made_from) as folder:
        SoftTargets.create(folder, index, settings, origin=made_from["inputs"])
        teachers = [member.path for member in members]
        workers = resolve_workers(config.workers)
        score_teachers(folder, features / FBANK_FILE, index, teachers, device, workers)
    say(f"soft targets: {index.total_frames:,} frames, average of {len(members)} members")
    return Artifact(path)


def _check_students(config: Config) -> None:
    """Refuse what no student can be trained with before the teachers have worked for it."""
    check_kind(config.distill.average)
    for name, student in config.distill.students.items():
        if name == TARGETS:
            raise AsrKdError(f"distill.students: {name!r} is the name of a folder here; choose another name")
        named_settings(config.models, student.model, f"distill.students.{name}.model")
        _objective(student)


def _objective(student: StudentConfig) -> DistillationObjective:
    return DistillationObjective(
        student.temperature, student.soft_weight, student.hard_weight, student.optimiser.label_smoothing
    )


def _student(config: Config, work: Path, name: str, student: StudentConfig, targets: Artifact) -> TrainingJob:
    settings = student.optimiser
    model = named_settings(config.models, student.model, f"distill.students.{name}.model")
    seed = derive_seed(config.seed, "distill", name)
    content = {
        "model": model,
        "objective": {
            "temperature": student.temperature,
            "soft_weight": student.soft_weight,
            "hard_weight": student.hard_weight,
        },
        "optimiser": optimiser_fingerprint(settings),
        "seed": seed,
    }
    return TrainingJob(
        name=name,
        path=student_folder(work, name),
        made_from=fingerprint("student", content, {**data_artifacts(work), "targets": targets}),
        model=model,
        senones=read_senones(work),
        objective=_objective(student),
        open_data=partial(_open_data, work, student.temperature),
        optimiser=settings,
        seed=seed,
        device=str(resolve_device(config.device)),
    )


def _open_data(work: Path, temperature: float) -> tuple[FrameData, FrameData]:
    """Training and dev data; utterances whose alignment failed have soft targets and take part."""
    features = open_part(work / "features" / "train")
    store = SoftTargets.open(work / "distill" / TARGETS)
    targets = {
        "labels": PerFrame(features.index, open_labels(work, "train", features.index)),
        "ids": PerFrame(store.index, store.ids),
        "log_probabilities": PerFrame(store.index, store.log_probabilities),
        "log_rest": PerFrame(store.index, store.rest_at(temperature)),
    }
    train = FrameData(PerFrame(features.index, features.fbank), targets, features.index.ids)
    return train, open_labelled(work, "dev")
