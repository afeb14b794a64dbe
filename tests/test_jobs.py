"""Work in processes: complete, bounded, and loud when a worker dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asr_kd import memory
from asr_kd.errors import AsrKdError
from asr_kd.jobs import Cost, WorkerDiedError, WorkerPool, map_processes, resolve_workers
from asr_kd.seeding import derive_seed, generator


def square(number: int) -> int:
    return number * number


def fail_on_three(number: int) -> int:
    if number == 3:
        raise AsrKdError("utterance three")
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def process(_: int) -> int:
    return os.getpid()


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once(workers: int) -> None:
    assert dict(map_processes(square, range(5), workers, "squares")) == {n: n * n for n in range(5)}


def test_error_of_an_item_reaches_the_caller() -> None:
    with pytest.raises(AsrKdError, match="utterance three"):
        list(map_processes(fail_on_three, range(6), 2, "work"))


def test_killed_worker_is_an_error_with_advice() -> None:
    with pytest.raises(AsrKdError, match="lower `workers`"):
        list(map_processes(die, [1], 1, "work"))


def test_after_a_death_a_pool_has_new_workers() -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(WorkerDiedError):
            list(pool.map(die, [1], "deaths"))
        assert list(pool.map(square, [3], "squares")) == [(0, 9)]


def run_out(_: int) -> None:
    raise MemoryError


def test_a_worker_without_memory_is_an_error_with_advice() -> None:
    cost = Cost(1, "large")
    with pytest.raises(AsrKdError, match="work: out of memory; lower `workers` or `large`"):
        list(map_processes(run_out, [1], 1, "work", cost=cost))


def test_there_are_as_many_workers_as_the_budget_has_room_for() -> None:
    cost = Cost(400_000_000)
    with memory.budgeted(str(memory.private(os.getpid()) + 900_000_000)):
        processes = {found for _, found in map_processes(slow_process, range(6), 4, "work", cost=cost)}
    assert len(processes) <= 2


def slow_process(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def test_workers_use_one_thread_and_leave_our_environment_alone() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    assert dict(map_processes(threads, [0], 1, "work")) == {0: "1"}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_a_pool_keeps_its_processes_and_outlives_an_error() -> None:
    with WorkerPool(1) as pool:
        ((_, first),) = pool.map(process, [0], "first")
        with pytest.raises(AsrKdError, match="utterance three"):
            list(pool.map(fail_on_three, [3, 1], "second"))
        ((_, third),) = pool.map(process, [0], "third")
    assert first == third != os.getpid()


def test_negative_workers_are_refused() -> None:
    with pytest.raises(AsrKdError, match="workers=-1"):
        resolve_workers(-1)


def test_seeds_depend_on_seed_and_name_alone() -> None:
    assert derive_seed(0, "train", "member", 1) == derive_seed(0, "train", "member", 1)
    seeds = {derive_seed(seed, "member", i) for seed in range(10) for i in range(10)}
    assert len(seeds) == 100
    assert derive_seed(0, "a", "bc") != derive_seed(0, "ab", "c")
    assert generator(1, "x").random() == generator(1, "x").random()


PARENT = """
import os, time
from asr_kd.jobs import map_processes

def work(path):
    open(path, "w").write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(map_processes(work, [{path!r}], 1, "work"))
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script, number = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT.format(path=str(number)))
    parent = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    _wait_until(lambda: number.is_file() and number.read_text() != "")
    worker = Path(f"/proc/{number.read_text()}")
    assert worker.exists()
    parent.kill()
    parent.wait()
    _wait_until(lambda: not worker.exists())


def sleep(path: str) -> None:
    Path(path).touch()
    time.sleep(600)


def test_an_interruption_does_not_wait_for_work_that_was_begun(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WorkerPool(1) as pool:
        next(pool.map(square, [1], "first"))  # the process is there
        pool._executor.submit(sleep, str(tmp_path / "begun"))
        _wait_until((tmp_path / "begun").exists)
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


def _wait_until(true: Callable[[], bool]) -> None:
    """A minute at most: then the test fails."""
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
