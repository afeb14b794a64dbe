"""Processes that train one network together, each on its share of every batch (data parallel).

torch's elastic agent, which is what `torchrun` starts, starts them and ends all of them when one dies. Sums
go through torch.distributed: NCCL between GPUs, Gloo between CPUs.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asr_kd import memory, stopping
from asr_kd.artifacts import create, partial_folder
from asr_kd.errors import AsrKdError
from asr_kd.jobs import start_worker
from asr_kd.progress import be_silent

Argument = TypeVar("Argument")

# A process that waits so long for another ends the training.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Group:
    """The processes that train one network; by default one that trains alone.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks, for all of them."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of so many equal pieces of work are this process'; all, where they cannot be divided."""
        if count % self.size:
            return slice(0, count)
        own = count // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def device(self, device: torch.device) -> torch.device:
        """Where this process computes: every one on a GPU of its own, from `device` on."""
        if self.size == 1 or device.type != "cuda":
            return device
        return torch.device("cuda", (device.index or 0) + int(os.environ["LOCAL_RANK"]))

    def sum(self, *values: float) -> list[float]:
        """The sums of some numbers over all processes, the same in each."""
        if self.size == 1:
            return list(values)
        added = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(added)
        sums: list[float] = added.tolist()
        return sums

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum(0.0)

    def network(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model, its gradients averaged over all processes."""
        if self.size == 1:
            return model
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            # Batch normalisation has the same statistics everywhere, see `models.normalisation`.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )

    @contextmanager
    def create(self, path: Path, made_from: Mapping[str, Any]) -> Iterator[Path]:
        """`artifacts.create` by the leading process; the others get the folder once it is there."""
        if self.leads:
            with create(path, made_from) as folder:
                self.wait()
                yield folder
        else:
            self.wait()
            yield partial_folder(path)


ALONE = Group()


def own_gradients(network: nn.Module) -> AbstractContextManager[None]:
    """Inside, gradients are added up in this process, and not yet averaged over all."""
    if isinstance(network, DistributedDataParallel):
        held: AbstractContextManager[None] = network.no_sync()
        return held
    return nullcontext()


def run_together(
    function: Callable[[Argument, Group], None], argument: Argument, processes: int, device: str, name: str
) -> None:
    """Call ``function(argument, group)`` in so many processes of this machine; with one, in this process.

    Raises:
        AsrKdError: a process failed or died, and the others were ended; or there are not as many GPUs.
    """
    if processes <= 1:
        function(argument, ALONE)
        return
    own = torch.device(device)
    if own.type == "cuda" and (own.index or 0) + processes > torch.cuda.device_count():
        raise AsrKdError(
            f"{name}: optimiser.processes={processes} from device={device} on, but there are "
            f"{torch.cuda.device_count()} GPUs here"
        )
    # Here: the engine takes a moment to load.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The agent does not give signals back.
    with TemporaryDirectory() as folder, stopping.heeded():
        agent = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,  # a restart of the whole would repeat what failed; the same command goes on
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle="SIGTERM",
        )
        try:
            elastic_launch(agent, _take_part)(function, argument, name)
        except ChildFailedError as error:
            raise AsrKdError(_why(error, processes, name)) from error
        except SignalException as error:
            raise stopping.Terminated from error


def _take_part(function: Callable[[Argument, Group], None], argument: Argument, name: str) -> None:
    """What each of the processes does."""
    start_worker(None, ())  # it ends when the agent is gone
    group = Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if not group.leads:
        be_silent()
    dist.init_process_group(timeout=PATIENCE)
    try:
        with stopping.heeded(), memory.naming(name, "`optimiser.shard_megabytes` or `optimiser.processes`"):
            function(argument, group)
    except AsrKdError as error:
        print(f"{type(error).__name__} in process {group.rank}: {error}", file=sys.stderr)
        raise AsrKdError(str(error)) from None  # by this name `_why` knows it
    group.wait()
    dist.destroy_process_group()


def _why(error: Any, processes: int, name: str) -> str:
    """The first failure of an elastic ChildFailedError, in words."""
    rank, failure = error.get_first_failure()
    message = failure.message
    if isinstance(message, dict):
        message = message["message"]
    kind, _, own = message.partition(": ")
    if kind == AsrKdError.__name__:  # it says all that there is to say
        return str(own)
    return (
        f"{name}: process {rank} of {processes} died ({message}) and the others were ended; the same command "
        "goes on from the last checkpoint"
    )
