"""Independent pieces of work in worker processes, one thread each.

Two processes of one thread beat one process of two threads for the small networks and searches of this
program, and the Kaldi wheels hold the interpreter's lock while they search; hence processes throughout.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess as ParentProcess
from pathlib import Path
from threading import Thread
from typing import Any, Protocol, TypeVar

from asr_kd import memory
from asr_kd.errors import AsrKdError
from asr_kd.progress import bar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def available_cores() -> int:
    """The cores this process may run on: a scheduler's limit counts, the machine's size does not."""
    return len(os.sched_getaffinity(0))


def resolve_workers(setting: int) -> int:
    """The number of worker processes for the setting `workers`, where 0 means one a core."""
    if setting < 0:
        raise AsrKdError(f"workers={setting}: give 0 for one process a core, or a positive number")
    return setting or available_cores()


@dataclass(frozen=True)
class Cost:
    """What a worker process takes, and what to do about it.

    Attributes:
        private_bytes: its private memory at most, as estimated; 0: little.
        lower: the setting that makes it smaller, for messages.
    """

    private_bytes: int = 0
    lower: str = "workers"

    def affordable(self, workers: int, what: str) -> int:
        """How many workers there is memory for, see `memory.affordable`."""
        return memory.affordable(workers, self.private_bytes, what, self.lower)

    def room(self, workers: int) -> int:
        """What each of some workers may take beside this, to keep what it could make again; in bytes."""
        return memory.room(workers, self.private_bytes)


LITTLE = Cost()
OWN_WORKERS = 0


class Job(Protocol):
    """Work that no other of its kind waits for, and that goes on where it was ended; see `launching`.

    Attributes:
        name: for messages.
        path: what it makes: an artefact, or a folder of them.
        cost: of its process.
        cores: that it computes with; `OWN_WORKERS`: as many as there are, by worker processes of its own.
        processes: that train together, each on a GPU of its own where there are GPUs.
    """

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def cores(self) -> int: ...
    @property
    def processes(self) -> int: ...

    def run(self) -> None:
        """Do the work, or find that it is done."""
        ...


class WorkerDiedError(AsrKdError):
    """A worker process has died."""


def map_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    description: str,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    cost: Cost = LITTLE,
) -> Iterator[tuple[int, Result]]:
    """Yield ``(position in items, function(item))`` as results are ready, in no particular order.

    `function`, `initializer` and everything passed must be picklable (module-level functions). With one
    worker the work is still done in a process of its own, so that the result does not depend on `workers`:
    there are fewer where the memory budget has no room for so many.

    Raises:
        AsrKdError: there is no memory for a worker, one ran out of it, or one died (most often: killed for
            want of memory).
        Exception: whatever `function` raised, after the remaining work has been cancelled.
    """
    if items:
        count = cost.affordable(min(workers, len(items)), description)
        with WorkerPool(count, initializer, initargs, cost.lower) as pool:
            yield from pool.map(function, items, description)


class WorkerPool:
    """Worker processes for several maps; what a worker has loaded for one it still has for the next."""

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
        lower: str = LITTLE.lower,
    ) -> None:
        """Workers start with the first piece of work. See `map_processes` and `Cost` for the arguments."""
        self._lower = lower
        self._make_executor = partial(
            ProcessPoolExecutor,
            max_workers=workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            initargs=(initializer, initargs),
        )
        self._executor = self._make_executor()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        end_if_interrupted(kind)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], description: str
    ) -> Iterator[tuple[int, Result]]:
        """As `map_processes`, in the pool's processes; when one has died, the next map gets new ones."""
        futures: dict[Future[Result], int] = {}
        with one_thread_each(), bar(len(items), description) as progress:
            try:
                with explained(description, self._lower):
                    for place, item in enumerate(items):
                        futures[self._executor.submit(function, item)] = place
                for future in as_completed(futures):
                    with explained(description, self._lower):
                        result = future.result()
                    # Let go of it at once: in the future's hands all results would stay until the last.
                    place = futures.pop(future)
                    yield place, result
                    progress.update()
            except WorkerDiedError:
                self._executor.shutdown(cancel_futures=True)
                self._executor = self._make_executor()
                raise
            finally:
                for future in futures:
                    future.cancel()


@contextmanager
def explained(description: str, lower: str) -> Iterator[None]:
    """Inside, the death of a worker and a shortage of memory get a message that says what to do.

    Raises:
        WorkerDiedError: the first.
        AsrKdError: the second.
    """
    settings = "`workers`" if lower == LITTLE.lower else f"`workers` or `{lower}`"
    try:
        with memory.naming(description, settings):
            yield
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            f"{description}: a worker process died, most likely for want of memory; "
            f"lower {settings} and run the same command again to go on"
        ) from error


def end_if_interrupted(kind: type[BaseException] | None) -> None:
    """End all worker processes at once if a pool is left by an interruption; pieces may take hours.

    Args:
        kind: of the exception that the pool is left with.
    """
    if kind is not None and not issubclass(kind, Exception):
        for child in multiprocessing.active_children():
            child.terminate()


def start_worker(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """What every worker process begins with: it ends when the process that started it is gone.

    Left alone it would finish what it has, and write into the same files as the run that goes on from there.
    """
    # Ctrl-C reaches workers too; that process ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_after(parent: ParentProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Inside, every spawned process computes with one thread."""
    # Spawned children read these as they load their numeric libraries, before any initializer runs.
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
