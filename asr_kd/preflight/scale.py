"""A plan for a cluster: what a recipe takes with thousands of hours, many senones, and many GPUs.

The planners of the preflight estimate say how much work there is. What a unit of it takes on processors is
measured here, on the recipe's own corpus; networks are taken to compute as `cluster` says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr_kd import costs
from asr_kd.artifacts import MANIFEST
from asr_kd.config import Config
from asr_kd.costs import Amounts, Constants, Step
from asr_kd.errors import AsrKdError
from asr_kd.hmm.speed import START
from asr_kd.jobs import available_cores
from asr_kd.layout import TRAIN
from asr_kd.preflight import gpus
from asr_kd.preflight.calibration import calibrate
from asr_kd.preflight.check import MEASURED_SECONDS
from asr_kd.preflight.cluster import Cluster
from asr_kd.preflight.decoding import systems
from asr_kd.preflight.estimate import PLANNERS
from asr_kd.preflight.measure_networks import STORE, Network, Stored, Training
from asr_kd.preflight.measure_speech import FEATURES
from asr_kd.preflight.plan import Need, Plan, Scene
from asr_kd.preflight.sizes import PARTS, Sizes, read_sizes
from asr_kd.preflight.table import columns
from asr_kd.preflight.trainings import target_settings

STAGES = ("features", "align", "train", "distill", "compress", "decode")
_HARDLY_MORE = 1.1  # of the shortest time: what fewer GPUs may take
_DENSE_BYTES = 2  # of a posterior in float16, as a store without top k would have it


@dataclass(frozen=True)
class _ClusterScene(Scene):
    """A scene on machines whose memory nobody knows."""

    def processes(self, private_bytes: int, threads: int = 1) -> int:
        """As many as there are cores for."""
        return max(1, self.workers // threads)


@dataclass
class StagePlan:
    """What a stage takes.

    Attributes:
        seconds: from begin to end.
        gpu_seconds: of all GPUs together, while they are busy.
        core_seconds: of all cores.
        written: bytes that stay on the disks.
        traffic: bytes between machines and disks.
        exchanged: bytes between GPUs.
        together: GPUs that train one network, by what is trained.
    """

    seconds: float = 0.0
    gpu_seconds: float = 0.0
    core_seconds: float = 0.0
    written: int = 0
    traffic: float = 0.0
    exchanged: float = 0.0
    together: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ScalePlan:
    """What a run takes on one cluster, by stage."""

    cluster: Cluster
    stages: Mapping[str, StagePlan]


@dataclass(frozen=True)
class Outlook:
    """What a recipe would take.

    Attributes:
        sizes: of the corpus that it would learn from.
        dense: bytes of the training part's posteriors in float16.
        stored: bytes of its soft targets.
        plans: of each cluster.
    """

    sizes: Sizes
    dense: int
    stored: int
    plans: Sequence[ScalePlan]


def plan(config: Config, hours: float, clusters: Sequence[Cluster]) -> Outlook:
    """What a recipe would take with so much speech to learn from, on each of some clusters.

    Args:
        config: of a recipe whose stage data is done: with the senones (``align.gmm.leaves``), members and
            networks that are planned with.
        hours: of its training part; dev, test and language models stay as they are.
        clusters: to compare.

    Raises:
        AsrKdError: stage data is not done, or settings leave nothing to plan.
    """
    work = Path(config.work)
    if not (work / "data" / MANIFEST).is_file():
        raise AsrKdError(f"{work}: stage data is not done; run `make recipe={config.recipe} stop_stage=data`")
    trainings = (config.train.optimiser, *(one.optimiser for one in config.distill.students.values()))
    if any(one.processes > 1 for one in trainings):
        raise AsrKdError("optimiser.processes: a plan chooses it; leave it at 1")
    own = read_sizes(config, work)
    if not own.train or hours <= 0:
        raise AsrKdError(f"hours={hours:g} of {config.recipe}: a plan needs speech, and more than 0 hours")
    sizes = scaled(own, hours, config.align.gmm.leaves)
    plans = [_work(config, work, sizes, one) for one in clusters]
    cores = available_cores()
    needs = {
        unit: replace(need, processes=min(need.processes, cores))
        for unit, need in plans[0].needs.items()
        if not isinstance(need.of, Network | Training)
    }
    constants = calibrate(needs.values(), work, cores)
    audio = _audio_bytes(own)
    found = [
        ScalePlan(one, _Costs(config, sizes, one, planned, constants, audio).stages())
        for one, planned in zip(clusters, plans, strict=True)
    ]
    return Outlook(sizes, *dense_and_stored(config, sizes), found)


def scaled(sizes: Sizes, hours: float, senones: int) -> Sizes:
    """Sizes with so many hours in the training part, and as many more in what else is learnt from."""
    factor = 3600 * hours / sizes.parts[TRAIN].seconds
    parts = {
        name: part if name in PARTS and name != TRAIN else part.share(factor)
        for name, part in sizes.parts.items()
    }
    return replace(sizes, parts=parts, senones=senones)


def dense_and_stored(config: Config, sizes: Sizes) -> tuple[int, int]:
    """Bytes of the training part's posteriors in float16, and of its soft targets as they are stored."""
    frames, settings = sizes.frames(TRAIN), target_settings(config.distill, sizes.senones)
    stored = costs.targets_bytes(
        frames, settings.kept, len(settings.stored_at), len(settings.temperatures), settings.rank
    )
    return _DENSE_BYTES * frames * sizes.senones, stored


def _audio_bytes(sizes: Sizes) -> float:
    """Bytes of the files of a second of speech."""
    files = {Path(one.audio) for one in sizes.train}
    stored = sum(path.stat().st_size for path in files if path.is_file())
    return stored / sum(one.duration_seconds or 0.0 for one in sizes.train)


def _work(config: Config, work: Path, sizes: Sizes, cluster: Cluster) -> Plan:
    """All that has to be done, in as many pieces as there are cores for."""
    ensemble = {work / "distill" / "frames" / name for name in ("ensemble", "specialists")}
    missing = frozenset({work / name for name in STAGES} | ensemble)
    here = cluster.gpus_here * cluster.cores
    scene = _ClusterScene(config, work, sizes, missing, here, "cpu", MEASURED_SECONDS)
    found = Plan()
    for name in STAGES:
        # Systems are decoded by jobs of their own, one a machine; all else that has no GPU is done by one.
        machines = min(cluster.machines, len(systems(scene))) if name == "decode" else 1
        PLANNERS[name](replace(scene, workers=here * machines), found)
    return found


class _Costs:
    """From work to what it takes on a cluster."""

    def __init__(
        self, config: Config, sizes: Sizes, cluster: Cluster, plan: Plan, constants: Constants, audio: float
    ) -> None:
        self._cluster, self._plan = cluster, plan
        self._checkpoint_seconds = config.train.optimiser.checkpoint_seconds
        needs = plan.needs.items()
        self._trainings = {unit: need.of for unit, need in needs if isinstance(need.of, Training)}
        self._cpu = {unit: seconds for unit, seconds in constants.seconds.items() if unit not in plan.needs}
        self._cpu |= {unit: constants.seconds[unit] for unit, need in needs if not _on_gpu(unit, need)}
        self._gpu = {unit: self._seconds(need) for unit, need in needs if _on_gpu(unit, need)}
        # Bytes that are read for a unit of work; what is scored is small, or read for soft targets anyway.
        frame = 2 * sizes.dims
        self._reads: dict[str, float] = {FEATURES: audio, STORE: frame}
        self._reads[START] = 4 * config.features.cepstra
        for unit, one in self._trainings.items():
            soft = costs.targets_bytes(1, one.top_k, 1, 1, one.rank) if one.soft else 0
            self._reads[unit] = frame + 4 + soft

    def stages(self) -> dict[str, StagePlan]:
        """By name; those without work are left out."""
        found = {name: self._stage(name) for name in STAGES}
        return {name: one for name, one in found.items() if one.seconds or one.written}

    def _seconds(self, need: Need) -> float:
        if isinstance(need.of, Network):
            return gpus.scored(need.of, self._cluster)
        if isinstance(need.of, Stored):
            return gpus.stored(need.of, self._cluster)
        return gpus.learnt(need.of, self._cluster, 1)

    def _stage(self, name: str) -> StagePlan:
        stage, machines = StagePlan(), 1
        stage.written = sum(size for by, size in self._plan.files.values() if by == name)
        stage.traffic = stage.written
        if name in ("align", "decode"):  # alignments and scores, written and read
            stage.traffic += 2 * self._plan.scratch.get(name, 0)
        for step in self._plan.steps:
            if step.stage == name:
                trained = {unit for job in step.jobs for unit in job} & self._trainings.keys()
                machines = max(machines, (self._train if trained else self._compute)(stage, step))
        # Where disks are slower than all else.
        stage.seconds = max(stage.seconds, stage.traffic / (machines * self._cluster.network * 1e9))
        return stage

    def _compute(self, stage: StagePlan, step: Step) -> int:
        """Add work that cores share, and one GPU does; how many machines do it."""
        busy = sum(_length(job, self._gpu) for job in step.jobs)
        jobs = tuple({unit: amount for unit, amount in job.items() if unit in self._cpu} for job in step.jobs)
        stage.seconds += busy + costs.makespan([_length(job, self._cpu) for job in jobs], step.processes)
        stage.gpu_seconds += busy
        stage.core_seconds += sum(_length(job, self._cpu) for job in jobs)
        stage.traffic += sum(_length(job, self._reads) for job in step.jobs)
        return self._cluster.machines if step.stage == "decode" else 1

    def _train(self, stage: StagePlan, step: Step) -> int:
        """Add trainings, each by so few GPUs together that more would hardly spare any time."""
        cluster = self._cluster
        choices = [count for count in (1, 2, 4, 8, 16) if count <= cluster.gpus_here]
        lengths = {count: [self._training_seconds(job, count) for job in step.jobs] for count in choices}
        spans = {count: costs.makespan(lengths[count], cluster.gpus // count) for count in choices}
        count = min(one for one in choices if spans[one] <= _HARDLY_MORE * min(spans.values()))
        stage.together[step.what] = count
        stage.seconds += spans[count]
        stage.gpu_seconds += count * sum(lengths[count])
        for job, seconds in zip(step.jobs, lengths[count], strict=True):
            trained = [(unit, amount) for unit, amount in job.items() if unit in self._trainings]
            stage.exchanged += sum(
                count * amount * gpus.exchanged(self._trainings[unit], count) for unit, amount in trained
            )
            # Every process reads all of the corpus; the leading one writes checkpoints.
            stage.traffic += sum(count * amount * self._reads[unit] for unit, amount in trained)
            largest = max(gpus.parameters(self._trainings[unit].network) for unit, _ in trained)
            stage.traffic += costs.CHECKPOINT_BYTES * largest * seconds / self._checkpoint_seconds
        return min(cluster.machines, -(-len(step.jobs) * count // cluster.gpus_here))

    def _training_seconds(self, job: Amounts, processes: int) -> float:
        seconds = _length(job, self._cpu)
        for unit, amount in job.items():
            if unit in self._trainings:
                seconds += amount * gpus.learnt(self._trainings[unit], self._cluster, processes)
            elif unit in self._gpu:  # dev, of which each process has its share
                seconds += amount * self._gpu[unit] / processes
        return seconds


def _on_gpu(unit: str, need: Need) -> bool:
    """Whether the work of a need is a network's; the shape of the rest is fitted by a processor."""
    return isinstance(need.of, Network | Training) or unit == STORE


def _length(job: Amounts, seconds: Mapping[str, float]) -> float:
    """Of all units of a job that something is known of."""
    return sum(amount * seconds[unit] for unit, amount in job.items() if unit in seconds)


def render(outlook: Outlook) -> str:
    """A table a cluster, and what soft targets take."""
    lines = []
    for one in outlook.plans:
        count, machines = one.cluster.gpus, one.cluster.machines
        lines.append(f"{count} GPU{'s' * (count > 1)} in {machines} machine{'s' * (machines > 1)}")
        lines += [*columns([list(_HEADS), *_rows(one.stages)]), ""]
    sizes = outlook.sizes
    lines.append(
        f"soft targets of {sizes.frames(TRAIN):,} frames: {_terabytes(outlook.stored)} TB, "
        f"and as float16 posteriors of all {sizes.senones:,} senones {_terabytes(outlook.dense)} TB"
    )
    return "\n".join(lines)


_HEADS = ("stage", "time", "GPU hours", "core hours", "disk TB", "traffic TB", "GPU to GPU TB", "GPUs a job")


def _rows(stages: Mapping[str, StagePlan]) -> list[list[str]]:
    every = list(stages.values())
    whole = StagePlan(
        sum(one.seconds for one in every),
        sum(one.gpu_seconds for one in every),
        sum(one.core_seconds for one in every),
        sum(one.written for one in every),
        sum(one.traffic for one in every),
        sum(one.exchanged for one in every),
    )
    return [
        [
            name,
            f"{one.seconds / 60:.0f} min" if one.seconds < 3600 else f"{one.seconds / 3600:,.1f} h",
            f"{one.gpu_seconds / 3600:,.1f}",
            f"{one.core_seconds / 3600:,.0f}",
            *map(_terabytes, (one.written, one.traffic, one.exchanged)),
            ", ".join(map(str, one.together.values())),
        ]
        for name, one in [*stages.items(), ("together", whole)]
    ]


def _terabytes(size: float) -> str:
    return f"{size / 1e12:,.2f}"
