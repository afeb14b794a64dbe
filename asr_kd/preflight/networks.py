"""What stages train, distill and compress have to do."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asr_kd import costs
from asr_kd.config.schema import QuantiseConfig, StudentConfig
from asr_kd.costs import Amounts, Step, divided
from asr_kd.distillation.scoring import FRAMES_A_SHARD, tail_frames
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.distillation.teachers import sample_size
from asr_kd.layout import (
    TRAIN,
    learns_unlabelled,
    member_folders,
    sets_folder,
    specialist_folder,
    specialist_targets_folder,
    student_folder,
    tail_folder,
    targets_folder,
    transfer_folders,
)
from asr_kd.models.registry import named_settings
from asr_kd.preflight import measure_networks
from asr_kd.preflight.measure import TORCH
from asr_kd.preflight.measure_networks import STORE, TAIL
from asr_kd.preflight.plan import Need, Plan, Scene
from asr_kd.preflight.speech import extract
from asr_kd.preflight.trainings import (
    Trainings,
    member_models,
    member_names,
    parameters,
    scoring,
    target_settings,
    teaching,
    total,
)
from asr_kd.stages.specialists import generalist_targets

# An export to ONNX with its check on dev, and 8-bit integers; it hardly depends on the network.
EXPORT = "export"
_SMALL_BYTES = 30_000  # of tables and pictures


def plan_train(scene: Scene, plan: Plan) -> None:
    """Members and specialists."""
    config, settings = scene.config, scene.config.train
    parts = [one.name for one in transfer_folders(scene.work, settings.views)]
    frames = scene.sizes.frames(*parts)
    trainings = Trainings(scene, plan, "train", "members")
    for name, folder in zip(member_names(scene), member_folders(config, scene.work), strict=True):
        if scene.lacks(folder):
            extract(scene, plan, parts[1:], "train")
            trainings.add(name, "train.models", frames, settings.optimiser)
            model = named_settings(config.models, name, "train.models")
            plan.write("train", folder, costs.network_bytes(parameters(scene, model)))
    trainings.finish()
    _plan_specialists(scene, plan, parts)


def _plan_specialists(scene: Scene, plan: Plan, parts: Sequence[str]) -> None:
    settings, models = scene.config.train.specialists, member_models(scene)
    if not settings.count or settings.generalist not in models:
        return
    frames, name = scene.sizes.frames(*parts), models[settings.generalist]
    if scene.lacks(sets_folder(scene.work)):
        sampled = min(scene.sizes.frames(TRAIN), settings.statistics_frames or frames)
        work = total([scoring(scene, plan, name, "train.models", sampled)])
        jobs = divided(work, scene.workers)
        plan.steps.append(Step("train", "specialist sets", jobs, scene.workers, TORCH))
        plan.write("train", sets_folder(scene.work), 8 * scene.sizes.senones**2)
    kept = generalist_targets(scene.sizes.senones)
    for part in parts if settings.soft_rest else ():
        folder = specialist_targets_folder(scene.work, part)
        _plan_store(scene, plan, "train", folder, part, settings.generalist, kept)
    trainings = Trainings(scene, plan, "train", "specialists")
    for number in range(settings.count):
        folder = specialist_folder(scene.work, number)
        if scene.lacks(folder) or scene.lacks(sets_folder(scene.work)):
            learnt, soft = round(settings.share * frames), settings.soft_rest > 0
            trainings.add(name, "train.models", learnt, settings.optimiser, soft)
            model = named_settings(scene.config.models, name, "train.models")
            plan.write("train", folder, costs.network_bytes(parameters(scene, model)))
    trainings.finish()


def plan_distill(scene: Scene, plan: Plan) -> None:
    """Soft targets, students, and how well all systems classify frames."""
    config, work = scene.config, scene.work
    trainings = Trainings(scene, plan, "distill", "students")
    for name, student in sorted(config.distill.students.items()):
        views, unlabelled = student.transfer.views, learns_unlabelled(config, student)
        parts = [one.name for one in transfer_folders(work, views, unlabelled)]
        extract(scene, plan, parts[1:], "distill")
        if student.soft_weight > 0:
            _plan_targets(scene, plan, student, parts)
        folder = student_folder(work, name)
        if scene.lacks(folder):
            frames = _transfer_frames(scene, student)
            soft = student.soft_weight > 0
            trainings.add(student.model, f"distill.students.{name}.model", frames, student.optimiser, soft)
            model = named_settings(config.models, student.model, f"distill.students.{name}.model")
            plan.write("distill", folder, costs.network_bytes(parameters(scene, model)))
    trainings.finish()
    _plan_quality(scene, plan)


def _transfer_frames(scene: Scene, student: StudentConfig, soft: bool = True) -> int:
    """How many frames an epoch of a student has; of audio without transcripts only with soft targets."""
    transfer, unlabelled = student.transfer, soft and learns_unlabelled(scene.config, student)
    folders = transfer_folders(scene.work, transfer.views, unlabelled)
    labelled = len(transfer_folders(scene.work, transfer.views))
    frames = [scene.sizes.frames(folder.name) for folder in folders]
    # Audio without transcripts is there whole.
    return round(transfer.fraction * sum(frames[:labelled])) + sum(frames[labelled:])


def _plan_targets(scene: Scene, plan: Plan, student: StudentConfig, parts: Sequence[str]) -> None:
    settings, work = target_settings(scene.config.distill, scene.sizes.senones), scene.work
    senones, tail = scene.sizes.senones, tail_folder(work, student.teachers)
    if settings.rank and scene.lacks(tail) and tail not in plan.files:
        plan.needs.setdefault(TAIL, Need(measure_networks.measure_store, _stored(scene), scene.workers))
        frames = min(tail_frames(senones), scene.sizes.frames(TRAIN))
        job = total([teaching(scene, plan, frames, student.teachers), {TAIL: frames}])
        plan.steps.append(Step("distill", "shape of the rest", (job,), 1, TORCH, 24 * frames * senones))
        plan.write("distill", tail, 4 * senones * (1 + settings.rank))
    for part in parts:
        folder = targets_folder(work, part, student.teachers)
        _plan_store(scene, plan, "distill", folder, part, student.teachers, settings)


def _plan_store(
    scene: Scene, plan: Plan, stage: str, folder: Path, part: str, teachers: str, settings: TargetSettings
) -> None:
    """The soft targets of a part by the teachers of that name, see `trainings.teaching`."""
    if not scene.lacks(folder) or folder in plan.files:
        return
    plan.needs.setdefault(STORE, Need(measure_networks.measure_store, _stored(scene), scene.workers))
    frames = scene.sizes.frames(part)
    job = total([teaching(scene, plan, frames, teachers), {STORE: frames}])
    pieces = max(1, -(-frames // FRAMES_A_SHARD))
    slots = min(scene.workers, pieces)
    plan.steps.append(Step(stage, f"soft targets of {part}", divided(job, pieces), slots, TORCH))
    kept, temperatures = settings.kept, len(settings.temperatures)
    size = costs.targets_bytes(frames, kept, len(settings.stored_at), temperatures, settings.rank)
    plan.write(stage, folder, size)


def _stored(scene: Scene) -> measure_networks.Stored:
    """The ensemble's soft targets, which stand for those of other teachers too: these take less."""
    settings = target_settings(scene.config.distill, scene.sizes.senones)
    teachers = scene.config.train.members + len(scene.config.distill.teachers)
    return measure_networks.Stored(
        settings.average, settings.top_k, settings.temperatures, settings.senones, settings.tempering,
        settings.tail_rank, teachers, scene.seconds,
    )  # fmt: skip


def _plan_quality(scene: Scene, plan: Plan) -> None:
    config, frames, jobs = scene.config, scene.work / "distill" / "frames", list[Amounts]()
    dev, test = scene.sizes.frames("dev"), scene.sizes.frames("test")
    sampled = sample_size(dev, scene.sizes.senones)
    seen = dev + test + sampled  # for a temperature
    systems = {member: ("train.models", name) for member, name in member_models(scene).items()}
    systems |= {name: ("distill.students", one.model) for name, one in config.distill.students.items()}
    for system, (setting, name) in systems.items():
        if scene.lacks(frames / system):
            jobs.append(scoring(scene, plan, name, setting, seen))
            plan.write("distill", frames / system, _SMALL_BYTES)
    for system in ("ensemble", "specialists"):
        if frames / system in scene.missing:
            jobs.append(teaching(scene, plan, seen, system))
            plan.write("distill", frames / system, _SMALL_BYTES)
    if jobs:
        data = costs.BYTES_A_SAMPLED_SCORE * sampled * scene.sizes.senones
        slots = min(scene.processes(costs.TORCH_PROCESS + data), len(jobs))
        plan.steps.append(Step("distill", "frames of dev and test", tuple(jobs), slots, TORCH, data))


def plan_compress(scene: Scene, plan: Plan) -> None:
    """Pruned and quantised networks."""
    config, work = scene.config, scene.work / "compress"
    trainings = Trainings(scene, plan, "compress", "pruned networks")
    for name, settings in sorted(config.compress.pruned.items()):
        if scene.lacks(work / name) and settings.student in config.distill.students:
            student = config.distill.students[settings.student]
            frames = _transfer_frames(scene, student, settings.targets == "soft")
            trainings.add_pruned(name, frames, settings, student)
            plan.write("compress", work / name, _network_bytes(scene, student, settings.keep))
    trainings.finish()
    waiting = {name: one for name, one in config.compress.int8.items() if scene.lacks(work / name)}
    if waiting:
        _plan_exports(scene, plan, waiting)
    for name, quantised in waiting.items():
        keep, student = find_network(scene, quantised.network)
        plan.write("compress", work / name, _network_bytes(scene, student, keep) // 4)


def _plan_exports(scene: Scene, plan: Plan, waiting: Mapping[str, QuantiseConfig]) -> None:
    data = export_data(scene, [quantised.network for quantised in waiting.values()])
    slots = min(len(waiting), scene.processes(costs.TORCH_PROCESS + data))
    jobs = ({EXPORT: 1.0},) * len(waiting)
    plan.steps.append(Step("compress", "8-bit networks", jobs, slots, TORCH, data))


def export_data(scene: Scene, names: Iterable[str]) -> int:
    """Private memory that the export of any of some students or pruned networks takes, beside libraries."""
    longest, senones, most = scene.sizes.parts["dev"].longest, scene.sizes.senones, 0
    for name in names:
        keep, student = find_network(scene, name)
        count = round(keep * _parameters(scene, student))
        most = max(most, costs.export_memory(longest, senones, count) - costs.TORCH_PROCESS)
    return most


def find_network(scene: Scene, name: str) -> tuple[float, StudentConfig]:
    """Of a student or pruned network: what is left of its multiply-adds, and the student that it was."""
    pruned, students = scene.config.compress.pruned.get(name), scene.config.distill.students
    student = students.get(pruned.student if pruned else name, StudentConfig())
    return (pruned.keep if pruned else 1.0), student


def _network_bytes(scene: Scene, student: StudentConfig, keep: float) -> int:
    return costs.network_bytes(keep * _parameters(scene, student))


def _parameters(scene: Scene, student: StudentConfig) -> int:
    return parameters(scene, named_settings(scene.config.models, student.model, "distill.students"))
