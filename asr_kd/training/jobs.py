"""Models to train, as jobs that do not wait for each other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from asr_kd.artifacts import find
from asr_kd.config.schema import OptimiserConfig
from asr_kd.costs import MEGABYTE, TORCH_PROCESS, training_memory
from asr_kd.errors import AsrKdError
from asr_kd.jobs import Cost
from asr_kd.launching import Launcher
from asr_kd.launching.launcher import raise_failures
from asr_kd.launching.order import told
from asr_kd.models import AcousticModel, build
from asr_kd.models.storage import load_model
from asr_kd.planning import ArtifactJob
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.training.data import FrameData
from asr_kd.training.loop import Steps, Trainer, run_alone
from asr_kd.training.objectives import Objective
from asr_kd.training.processes import ALONE, Group, run_together
from asr_kd.training.stacked import ALWAYS, AUTO, STACKING, Stack, follow

# What decides only how a training is carried out, not what comes out of it but for rounding.
CARRYING_OUT = ("checkpoint_seconds", "processes", "compile")


class ModelJob(ArtifactJob, Protocol):
    """A job that trains, see `TrainingJob` for the attributes."""

    @property
    def optimiser(self) -> OptimiserConfig: ...
    @property
    def device(self) -> str: ...


AnyJob = TypeVar("AnyJob", bound=ModelJob)
Missing = TypeVar("Missing", bound=ArtifactJob)


class TrainsModel:
    """What all `ModelJob` have in common."""

    @property
    def cores(self: ModelJob) -> int:
        """See `jobs.Job`."""
        return max(1, self.optimiser.threads) * self.processes

    @property
    def processes(self: ModelJob) -> int:
        """See `jobs.Job`."""
        return max(1, self.optimiser.processes)


@dataclass(frozen=True)
class TrainingJob(TrainsModel):
    """One model to train: everything a worker process needs.

    Attributes:
        name: for messages.
        path: the artefact to make.
        made_from: its fingerprint.
        model: settings for `models.build`.
        senones: classes.
        objective: what to train for.
        open_data: gives training and dev data; called in the worker, because memory-mapped arrays would
            be copied whole on their way there.
        optimiser: settings.
        seed: of weights, order and dropout.
        device: where to compute.
        initial: folder of the model whose weights it begins with; none: random ones.
        early_stopping: keep the weights of the best epoch, see `Trainer`.
        data: tells how much there is to train on.
    """

    name: str
    path: Path
    made_from: Mapping[str, Any]
    model: Mapping[str, Any]
    senones: int
    objective: Objective
    open_data: Callable[[], tuple[FrameData, FrameData]]
    optimiser: OptimiserConfig
    seed: int
    device: str
    initial: Path | None = None
    early_stopping: bool = True
    data: "Callable[[], DataSize] | None" = None

    @property
    def cost(self) -> Cost:
        """See `jobs.Job`."""
        data = self.data() if self.data else None
        with torch.device("meta"):  # an architecture without weights
            parameters = build(self.model, data.dims if data else 1, self.senones).parameter_count
        return training_cost(self.optimiser, data, parameters, self.senones)

    def run(self) -> None:
        """See `jobs.Job`."""
        carry_out(self, _train)


@dataclass(frozen=True)
class StackedJob:
    """Several models of one architecture, to be trained in one process, see `training.stacked`.

    Attributes:
        jobs: of the models.
        setting: `train.stacked`.
    """

    jobs: tuple[TrainingJob, ...]
    setting: str

    @property
    def name(self) -> str:
        """See `jobs.Job`."""
        return f"{self.jobs[0].name} to {self.jobs[-1].name}"

    @property
    def path(self) -> Path:
        """See `jobs.Job`."""
        return self.jobs[0].path.parent

    @property
    def cores(self) -> int:
        """See `jobs.Job`."""
        return self.jobs[0].cores

    @property
    def processes(self) -> int:
        """See `jobs.Job`."""
        return 1

    @property
    def cost(self) -> Cost:
        """See `jobs.Job`."""
        costs = [job.cost for job in self.jobs]
        return Cost(sum(cost.private_bytes for cost in costs), costs[0].lower)

    def run(self) -> None:
        """See `jobs.Job`."""
        torch.set_num_threads(self.cores)
        waiting = {job.name: job for job in self.jobs if find(job.path, job.made_from) is None}
        failures = follow({name: _steps(job, ALONE) for name, job in waiting.items()}, Stack(self.setting))
        raise_failures({name: told(error) for name, error in failures.items()}, len(self.jobs), "models")


def stack(jobs: Sequence[TrainingJob], setting: str) -> list[TrainingJob | StackedJob]:
    """Put jobs of the same architecture and optimiser together, where `train.stacked` says so.

    Raises:
        AsrKdError: the setting is unknown.
    """
    if setting not in STACKING:
        raise AsrKdError(f"train.stacked={setting} is not known; give {', '.join(STACKING)}")
    groups: dict[str, list[TrainingJob]] = {}
    for job in jobs:
        # A compiled network has few kernels as it is, and several processes have one network each.
        wanted = setting == ALWAYS or (setting == AUTO and torch.device(job.device).type == "cuda")
        able = job.processes == 1 and not job.optimiser.compile
        alike = repr((job.model, job.senones, job.optimiser)) if wanted and able else job.name
        groups.setdefault(alike, []).append(job)
    return [StackedJob(tuple(some), setting) if len(some) > 1 else some[0] for some in groups.values()]


@dataclass(frozen=True)
class DataSize:
    """How much there is to train on.

    Attributes:
        bytes: that all of it takes in memory.
        dims: features of a frame.
    """

    bytes: int
    dims: int


def training_cost(optimiser: OptimiserConfig, data: DataSize | None, parameters: int, senones: int) -> Cost:
    """What a training takes; of unknown `data` as much as `optimiser` allows."""
    most = optimiser.shard_megabytes * MEGABYTE
    shard = min(most, data.bytes) if data else most
    private = training_memory(shard, parameters, optimiser.batch_frames, senones)
    if optimiser.processes > 1:
        private = optimiser.processes * private + TORCH_PROCESS  # which starts the others
    return Cost(private, "optimiser.shard_megabytes")


def run_missing(jobs: Sequence[ArtifactJob], launcher: Launcher, description: str) -> None:
    """Carry out every job whose artefact is not up to date.

    Raises:
        AsrKdError: some failed; the others are done.
    """
    launcher.map(missing(jobs), description)


def carry_out(job: AnyJob, train: Callable[[AnyJob, Group], None]) -> None:
    """Make the artefact of a job, unless it is there, in as many processes as its settings say.

    Args:
        job: what to make.
        train: makes it, as one of these processes; a function of a module, as processes are to find it.
    """
    if find(job.path, job.made_from) is None:
        run_together(train, job, job.processes, job.device, job.name)


def missing(jobs: Sequence[Missing]) -> list[Missing]:
    """The jobs whose artefact is not up to date; of the others it says that they are."""
    waiting = []
    for job in jobs:
        if find(job.path, job.made_from) is None:
            waiting.append(job)
        else:
            say(f"{job.name}: up to date")
    return waiting


def optimiser_fingerprint(settings: OptimiserConfig) -> dict[str, Any]:
    """The settings that decide the outcome."""
    return {name: value for name, value in asdict(settings).items() if name not in CARRYING_OUT}


def _train(job: TrainingJob, group: Group) -> None:
    torch.set_num_threads(max(1, job.optimiser.threads))  # what makes no sense is refused by the trainer
    run_alone(_steps(job, group))


def _steps(job: TrainingJob, group: Group) -> Steps:
    train, dev = job.open_data()
    model = build(job.model, train.dims, job.senones, derive_seed(job.seed, "weights"))
    if job.initial is not None:
        _take_weights(model, job.initial, job.name)
    with group.create(job.path, job.made_from) as folder:
        yield from Trainer(
            model,
            job.objective,
            train,
            dev,
            job.optimiser,
            job.seed,
            group.device(torch.device(job.device)),
            folder,
            job.name,
            job.early_stopping,
            group,
        ).steps()


def _take_weights(model: AcousticModel, initial: Path, name: str) -> None:
    """Begin with the weights of the model in folder `initial`.

    Raises:
        AsrKdError: it has another architecture.
    """
    other = load_model(initial)
    shapes = {key: weight.shape for key, weight in model.state_dict().items()}
    if shapes != {key: weight.shape for key, weight in other.state_dict().items()}:
        raise AsrKdError(
            f"{name} cannot begin with the weights of {initial}: that is another architecture; "
            f"give distill.students.{name}.model the size of the member"
        )
    model.load_state_dict(other.state_dict())
