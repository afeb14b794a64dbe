"""How much memory a run may take, how much it takes, and what to say when there is not enough.

Counted is private memory: what no other process shares and the system cannot take back by itself. Pages of
memory-mapped files are not counted: they are given up when somebody else needs the room.
"""

import ctypes
import gc
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from asr_kd.costs import MEGABYTE
from asr_kd.errors import AsrKdError

AUTO = "auto"
MARGIN = 0.1  # of what is available: left to everybody else, and to what estimates miss
_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {f"{unit}i": 1 << (10 * power) for power, unit in enumerate("kmgt", start=1)}
_SIZE = re.compile(r"([0-9]*\.?[0-9]+)\s*([kmgt]?i?)b?", re.IGNORECASE)
# Above this a cgroup's limit means that there is none (version 1 has no word for it).
_NO_LIMIT = 1 << 60
_SOME_ROOM = 250 * MEGABYTE  # where nobody tells what there is
_TORCH_SHORTAGES = ("you tried to allocate", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def parse_size(text: str, setting: str) -> int:
    """Bytes of a size such as ``4 GB`` or ``512 MiB``.

    Raises:
        AsrKdError: it is no positive size; names the setting.
    """
    found = _SIZE.fullmatch(text.strip())
    units = _UNITS | _BINARY_UNITS
    if (
        found is None
        or found[2].lower() not in units
        or not (size := float(found[1]) * units[found[2].lower()])
    ):
        raise AsrKdError(f'{setting}={text}: give a size such as "4 GB" or "500 MB", or {AUTO}')
    return int(size)


def in_words(size: int) -> str:
    """A size for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / MEGABYTE:.0f} MB"


def available(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its children could take beside what they have; None where nobody tells.

    The least of what the machine and every control group above this process leaves (containers and batch
    systems set limits there, of version 1 or 2).

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    left = [_machine(root), *(_group(folder) for folder in _groups(root))]
    known = [size for size in left if size is not None]
    return max(0, min(known)) if known else None


def _machine(root: Path) -> int | None:
    return _kilobytes(root / "proc" / "meminfo", ("MemAvailable",))


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process' memory control groups, of the innermost first."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys" / "fs" / "cgroup"
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number != "0" and "memory" not in controllers.split(","):
            continue
        top = mount if number == "0" else mount / "memory"
        # Inside a container its own group may be mounted as the top: the path then leads nowhere.
        inner = top / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _group(folder: Path) -> int | None:
    """What one control group leaves; its page cache counts as used there, though it is given up on demand."""
    for limit_file, used_file, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit, used = (folder / limit_file).read_text().strip(), int((folder / used_file).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit != "max" and int(limit) < _NO_LIMIT:
            return int(limit) - used + int(statistics.get(cache, 0))
    return None


@dataclass(frozen=True)
class Budget:
    """What a run may take.

    Attributes:
        size: private memory of all its processes, in bytes; None where nobody knows what there is.
        given: by the user; else what was available.
    """

    size: int | None
    given: bool

    @classmethod
    def of(cls, setting: str) -> "Budget":
        """The budget of the setting `memory_budget`.

        Raises:
            AsrKdError: it is no size.
        """
        if setting.strip().lower() != AUTO:
            return cls(parse_size(setting, "memory_budget"), True)
        left = available()
        return cls(None if left is None else int((1 - MARGIN) * left) + private(os.getpid()), False)


_budget: ContextVar[Budget | None] = ContextVar("memory_budget", default=None)


@contextmanager
def budgeted(setting: str) -> Iterator[Budget]:
    """Inside, `budget` is that of the setting `memory_budget`."""
    token = _budget.set(Budget.of(setting))
    try:
        yield budget()
    finally:
        _budget.reset(token)


def budget() -> Budget:
    """Today's budget; outside of `budgeted` what is available less a margin."""
    return _budget.get() or Budget.of(AUTO)


def affordable(workers: int, worker_bytes: int, what: str, lower: str) -> int:
    """How many worker processes the budget has room for, at most `workers` and at least one.

    Args:
        workers: wanted.
        worker_bytes: private memory that one takes, as estimated.
        what: they do, for the message.
        lower: the setting that makes a worker smaller, for the message.

    Raises:
        AsrKdError: a budget that the user gave has no room for a single one.
    """
    left = unused()
    if left is None or not worker_bytes:
        return workers
    if left < worker_bytes and budget().given:
        raise AsrKdError(
            f"{what}: a process takes about {in_words(worker_bytes)}, and of memory_budget there are "
            f"{in_words(left)} left; raise it, or lower {lower}"
        )
    return max(1, min(workers, left // worker_bytes))


def room(workers: int, worker_bytes: int) -> int:
    """What the budget leaves each of some workers beside what it has to take, in bytes."""
    left = unused()
    return _SOME_ROOM if left is None else max(0, left // workers - worker_bytes)


def unused() -> int | None:
    """What the budget leaves beside this process' own private memory, in bytes; None where nobody knows."""
    size = budget().size
    return None if size is None else max(0, size - private(os.getpid()))


def private(process: int | str) -> int:
    """Private memory of a process in bytes, swapped out or not; 0 if it is gone or nobody tells."""
    names = ("RssAnon", "RssShmem", "VmSwap")
    return _kilobytes(Path("/proc") / str(process) / "status", names) or 0


def give_back() -> None:
    """Return what this process is done with, but has kept for later, to the system."""
    gc.collect()
    with suppress(OSError, AttributeError):  # where there is no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def processes(first: int) -> list[int]:
    """A process and all that descend from it."""
    found = [first]
    for process in found:  # which grows meanwhile
        for children in Path("/proc").glob(f"{process}/task/*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # gone
                continue
    return found


def private_of_tree(first: int) -> int:
    """Private memory of a process and all that descend from it, in bytes."""
    return sum(private(process) for process in processes(first))


class Watch:
    """Looks from time to time how much memory this process and its children take; a context manager.

    Attributes:
        peak: the most that was seen, in bytes.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        """Look every so many `seconds`."""
        self.peak = 0
        self._seconds, self._ended = seconds, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak = max(self.peak, private_of_tree(os.getpid()))
            if self._ended.wait(self._seconds):
                return


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of the machine or of a CUDA device."""
    # By name and by text: not everybody has torch, and its CPU allocator has no exception of its own.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_SHORTAGES)


@contextmanager
def naming(what: str, lower: str) -> Iterator[None]:
    """Inside, a shortage of memory becomes a message that names what to lower.

    Raises:
        AsrKdError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        where = "" if isinstance(error, MemoryError) else f" ({str(error).splitlines()[0][:150]})"
        raise AsrKdError(
            f"{what}: out of memory{where}; lower {lower}, and run the same command again to go on"
        ) from error


def _kilobytes(path: Path, names: tuple[str, ...]) -> int | None:
    """The sum of some lines ``Name: 123 kB``, in bytes; None if there is no such file or line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return None
    found = [int(fields[1]) for fields in lines if len(fields) > 1 and fields[0].rstrip(":") in names]
    return 1024 * sum(found) if found else None
