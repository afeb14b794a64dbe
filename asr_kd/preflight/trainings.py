"""The work that networks are: scoring of frames, training, pruning."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from asr_kd import costs
from asr_kd.compression.fine_tuning import IMPORTANCE_BATCH_FRAMES, IMPORTANCE_BATCHES, share_after
from asr_kd.config.schema import DistillConfig, OptimiserConfig, PruneConfig, StudentConfig
from asr_kd.costs import Amounts, Step
from asr_kd.distillation.soft_targets import TargetSettings
from asr_kd.layout import member_folders
from asr_kd.models import build
from asr_kd.models.registry import named_settings
from asr_kd.preflight import measure_networks
from asr_kd.preflight.measure import TORCH
from asr_kd.preflight.plan import Need, Plan, Scene

# A training's data, checks, checkpoint and curve, whatever its length; not measured.
TRAINING = "training"
# Of the time of a network a frame, what does not get less with its multiply-adds.
_FIXED_SHARE = 0.25
# Frames whose gradients say which units matter, before every round; in float32.
_IMPORTANCE_FRAMES = 3 * IMPORTANCE_BATCHES * IMPORTANCE_BATCH_FRAMES


def member_names(scene: Scene) -> list[str]:
    """The model of every member."""
    names = scene.config.train.models
    return [names[number % len(names)] for number in range(scene.config.train.members)]


def member_models(scene: Scene) -> dict[str, str]:
    """The model of every member, by the name of its folder."""
    folders = member_folders(scene.config, scene.work)
    return {folder.name: name for folder, name in zip(folders, member_names(scene), strict=True)}


def scoring(scene: Scene, plan: Plan, name: str, setting: str, frames: float, share: float = 1.0) -> Amounts:
    """The work of scoring frames with a network, or with what a share of its multiply-adds leaves of it."""
    unit = scene.network(plan, name, named_settings(scene.config.models, name, setting))
    return {unit: frames * (_FIXED_SHARE + (1 - _FIXED_SHARE) * share)}


def teaching(scene: Scene, plan: Plan, frames: float, teachers: str) -> Amounts:
    """The work of scoring frames with the teachers of that name, see `StudentConfig.teachers`."""
    config, names = scene.config, member_names(scene)
    alone = config.train.specialists.generalist if teachers == "specialists" else teachers
    members = member_models(scene)
    if alone in members:
        # Specialists have a say in about every other frame.
        share = 1 + config.train.specialists.count / 2 if teachers == "specialists" else 1
        return scoring(scene, plan, members[alone], "train.models", frames * share)
    # Models made elsewhere are taken to be like members.
    names += names[:1] * len(config.distill.teachers)
    return total(scoring(scene, plan, name, "train.models", frames) for name in names)


def total(works: Iterable[Amounts]) -> dict[str, float]:
    """Several amounts of work as one."""
    joined: dict[str, float] = {}
    for work in works:
        for unit, amount in work.items():
            joined[unit] = joined.get(unit, 0.0) + amount
    return joined


def parameters(scene: Scene, model: Mapping[str, Any]) -> int:
    """Of a network that does not exist yet."""
    return count_parameters(model, scene.sizes.dims, scene.sizes.senones)


def count_parameters(model: Mapping[str, Any], dims: int, senones: int) -> int:
    """Of a network with some settings, see `models.build`."""
    with torch.device("meta"):  # an architecture without weights
        return build(model, dims, senones).parameter_count


def shrunk(model: Mapping[str, Any], dims: int, senones: int, share: float) -> dict[str, Any]:
    """A windowed network with a share of the multiply-adds, all of its layers made smaller."""
    inputs, layers = dims * (model["left_context"] + 1 + model["right_context"]), model["hidden_layers"]

    def multiply_adds(units: int) -> int:
        return units * (inputs + (layers - 1) * units + senones)

    most = share * multiply_adds(model["hidden_units"])
    units = max((one for one in range(1, model["hidden_units"] + 1) if multiply_adds(one) <= most), default=1)
    return {**model, "hidden_units": units}


def factorised(model: Mapping[str, Any], dims: int, senones: int, share: float) -> dict[str, Any]:
    """A windowed network with a share of the multiply-adds, all of its matrices made two factors."""
    inputs, units = dims * (model["left_context"] + 1 + model["right_context"]), model["hidden_units"]
    widths = [inputs, *[units] * model["hidden_layers"], senones]
    ranks = [max(1, int(share * ahead * behind / (ahead + behind))) for ahead, behind in pairwise(widths)]
    kept = {name: model[name] for name in ("left_context", "right_context", "batch_norm")}
    return {"kind": "compressed_dnn", "units": widths[1:-1], "ranks": ranks, **kept}


def target_settings(distill: DistillConfig, senones: int) -> TargetSettings:
    """As stage distill has them, with as many senones as there may be."""
    used = {student.temperature for student in distill.students.values() if student.soft_weight > 0}
    temperatures = tuple(sorted(used | set(distill.temperatures))) or (1.0,)
    return TargetSettings(
        distill.average,
        distill.top_k,
        temperatures,
        senones,
        distill.tempering,
        distill.tail_rank,
    )


def _kept(scene: Scene) -> tuple[int, int]:
    """Senones of a soft target, and dimensions of the shape of its rest."""
    settings = target_settings(scene.config.distill, scene.sizes.senones)
    return settings.kept, settings.rank


class Trainings:
    """Trainings of a stage, side by side."""

    def __init__(self, scene: Scene, plan: Plan, stage: str, what: str) -> None:
        self._scene, self._plan, self._stage, self._what = scene, plan, stage, what
        self._jobs: list[Amounts] = []
        self._units: set[str] = set()
        # Of the job that has most of each: threads, data in memory, memory in all.
        self._threads, self._data, self._private = 1, 0, 0

    def add(
        self, name: str, setting: str, frames: int, optimiser: OptimiserConfig, soft: bool = False
    ) -> None:
        """Train a model of the recipe for all epochs."""
        model = named_settings(self._scene.config.models, name, setting)
        unit = self._unit(name, model, optimiser, soft)
        dev = scoring(self._scene, self._plan, name, setting, self._scene.sizes.frames("dev"))
        # Processes that train together are taken to share the work without loss.
        work = {unit: frames, **dev}
        epochs = {key: amount * optimiser.epochs / optimiser.processes for key, amount in work.items()}
        self._add(epochs | {TRAINING: 1.0}, frames, optimiser, soft)
        self._count(parameters(self._scene, model), optimiser)

    def add_pruned(self, name: str, frames: int, settings: PruneConfig, student: StudentConfig) -> None:
        """Prune a student in rounds; a round takes a time between those of the whole and of the last."""
        scene, optimiser, soft = self._scene, settings.optimiser, settings.targets == "soft"
        model = named_settings(scene.config.models, student.model, f"compress.pruned.{name}.student")
        keep = settings.keep if settings.method != "magnitude" and "hidden_units" in model else 1.0
        whole = self._unit(student.model, model, optimiser, soft)
        small, work = whole, list[Amounts]()
        if keep < 1.0:
            what, shape = ("factorised", factorised) if settings.method == "low_rank" else ("pruned", shrunk)
            last = shape(model, scene.sizes.dims, scene.sizes.senones, keep)
            small = self._unit(f"{student.model} {what} to {keep:g}", last, optimiser, soft)
        for number in range(1, settings.rounds + 1):
            share = share_after(number, settings)
            left = (share - keep) / (1 - keep) if keep < 1.0 else 1.0
            seen = frames * optimiser.epochs
            seen += _IMPORTANCE_FRAMES if settings.method == "structured" else 0
            work += [{whole: seen * left}, {small: seen * (1 - left)}]
            dev = scene.sizes.frames("dev") * optimiser.epochs
            work.append(scoring(scene, self._plan, student.model, "distill.students", dev, share))
        self._add(total(work) | {TRAINING: settings.rounds}, frames, optimiser, soft)
        self._count(parameters(scene, model), optimiser)

    def finish(self) -> None:
        """Add the step to the plan, if there is any work."""
        if not self._jobs:
            return
        slots = min(self._scene.processes(self._private, self._threads), len(self._jobs))
        for unit in self._units:
            self._plan.needs[unit] = replace(self._plan.needs[unit], processes=slots)
        jobs = tuple(self._jobs)
        self._plan.steps.append(Step(self._stage, self._what, jobs, slots, TORCH, self._data))

    def _add(self, work: Amounts, frames: int, optimiser: OptimiserConfig, soft: bool) -> None:
        scene = self._scene
        kept, rank = _kept(scene) if soft else (0, 0)
        data = costs.shard_bytes(frames, scene.sizes.dims, kept, rank)
        self._data = max(self._data, min(data, optimiser.shard_megabytes * costs.MEGABYTE))
        self._jobs.append(work)

    def _count(self, parameters: int, optimiser: OptimiserConfig) -> None:
        """Note what a network of so many parameters takes beside what is measured."""
        senones = self._scene.sizes.senones
        private = costs.training_memory(self._data, parameters, optimiser.batch_frames, senones)
        self._private = max(self._private, optimiser.processes * private)
        self._threads = max(self._threads, optimiser.threads * optimiser.processes)
        scratch = self._scene.workers * parameters * costs.CHECKPOINT_BYTES_A_PARAMETER
        self._plan.need_scratch(self._stage, scratch)

    def _unit(self, name: str, model: Mapping[str, Any], optimiser: OptimiserConfig, soft: bool) -> str:
        targets, threads = "soft targets" if soft else "labels", max(1, optimiser.threads)
        unit = f"frame learnt by {name} from {targets}, {threads} threads, batch {optimiser.batch_frames}"
        scene, (kept, rank) = self._scene, _kept(self._scene)
        network = measure_networks.Network(
            unit,
            model,
            scene.sizes.dims,
            scene.sizes.senones,
            scene.device,
            optimiser.precision,
            scene.seconds,
        )
        of = measure_networks.Training(network, optimiser, soft, kept, rank)
        self._plan.needs.setdefault(unit, Need(measure_networks.measure_training, of, 1))
        self._units.add(unit)
        return unit
