"""Several models trained side by side, each in a process of its own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from asr_kd.artifacts import create, find
from asr_kd.config.schema import OptimiserConfig
from asr_kd.costs import MEGABYTE, training_memory
from asr_kd.errors import AsrKdError
from asr_kd.jobs import LITTLE, Cost, map_processes
from asr_kd.models import AcousticModel, build
from asr_kd.models.storage import load_model
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.training.data import FrameData
from asr_kd.training.loop import Trainer
from asr_kd.training.objectives import Objective

# What decides only how a training is carried out, not what comes out of it.
CARRYING_OUT = ("checkpoint_seconds",)


@dataclass(frozen=True)
class TrainingJob:
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
        """See `Job`."""
        data = self.data() if self.data else None
        with torch.device("meta"):  # an architecture without weights
            parameters = build(self.model, data.dims if data else 1, self.senones).parameter_count
        return training_cost(self.optimiser, data, parameters, self.senones)


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
    """What a process that trains takes; of unknown `data` as much as `optimiser` allows."""
    most = optimiser.shard_megabytes * MEGABYTE
    shard = min(most, data.bytes) if data else most
    private = training_memory(shard, parameters, optimiser.batch_frames, senones)
    return Cost(private, "optimiser.shard_megabytes")


class Job(Protocol):
    """What `run_missing` needs to know of a job; see `TrainingJob` for what the attributes are."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def made_from(self) -> Mapping[str, Any]: ...
    @property
    def optimiser(self) -> OptimiserConfig: ...
    @property
    def cost(self) -> Cost: ...


AnyJob = TypeVar("AnyJob", bound=Job)


def run_jobs(jobs: Sequence[TrainingJob], workers: int, description: str) -> None:
    """Train every model that is not up to date, `workers` threads in all at a time."""
    run_missing(_run, jobs, workers, description)


def run_missing(
    carry_out: Callable[[AnyJob], None], jobs: Sequence[AnyJob], workers: int, description: str
) -> None:
    """Carry out every job whose artefact is not up to date, each in a process of its own.

    Args:
        carry_out: makes the artefact of a job; a function of a module, as processes are to find it.
        jobs: to do.
        workers: threads in all at a time.
        description: for the progress bar.
    """
    waiting = missing(jobs)
    threads = max((max(1, job.optimiser.threads) for job in waiting), default=1)
    cost = dearest(waiting)
    for _ in map_processes(carry_out, waiting, max(1, workers // threads), description, cost=cost):
        pass


def dearest(jobs: Sequence[Job]) -> Cost:
    """Of the job that takes most; those that cannot even tell will fail by themselves."""
    costs = [LITTLE]
    for job in jobs:
        with suppress(AsrKdError):
            costs.append(job.cost)
    return max(costs, key=attrgetter("private_bytes"))


def missing(jobs: Sequence[AnyJob]) -> list[AnyJob]:
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


def _run(job: TrainingJob) -> None:
    torch.set_num_threads(max(1, job.optimiser.threads))  # what makes no sense is refused by the trainer
    train, dev = job.open_data()
    model = build(job.model, train.dims, job.senones, derive_seed(job.seed, "weights"))
    if job.initial is not None:
        _take_weights(model, job.initial, job.name)
    with create(job.path, job.made_from) as folder:
        Trainer(
            model,
            job.objective,
            train,
            dev,
            job.optimiser,
            job.seed,
            torch.device(job.device),
            folder,
            job.name,
            job.early_stopping,
        ).run()


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
