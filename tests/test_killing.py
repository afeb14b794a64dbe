"""Runs that are killed, interrupted or terminated, and go on; many more kills: recipes/test_kills.py."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.killing import kill_and_go_on, start
from tests.small_mini import work_of


@pytest.mark.parametrize(("stage", "kills"), [("features", 3), ("train", 2)])
def test_a_killed_stage_goes_on_and_ends_in_the_same_bytes(mini: list[str], stage: str, kills: int) -> None:
    compared = kill_and_go_on(mini, work_of(mini), stage, kills, most_changes=12, seconds=5.0)
    print(f"{stage}: {kills} kills survived, {compared} finished runs compared")


# Several processes a training: there are more jobs than workers, and one that is ended must take no other.
@pytest.mark.parametrize(
    ("number", "status", "processes"),
    [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)],
)
def test_an_interrupted_run_ends_its_workers_and_says_how_to_go_on(
    mini: list[str], number: signal.Signals, status: int, processes: int
) -> None:
    work = work_of(mini)
    shutil.rmtree(work / "train")
    long = ["train.optimiser.epochs=10000", "stage=train", "stop_stage=train"]
    long += [f"train.optimiser.processes={processes}", "workers=2"]
    process = start([*mini, *long])
    try:
        # A worker is in its second epoch.
        _wait_until((work / "train" / ".member-0.partial" / "log.jsonl").exists)
        if number == signal.SIGINT:  # a terminal sends it to all of them
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        _wait_until(lambda: not _running(process.pid))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status
    assert output.endswith("; the same command goes on from here\n")
    assert "Traceback" not in output


def _running(group: int) -> list[str]:
    """The processes of a group, but for those that only wait to be forgotten."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, owner, *_ = file.read_text().rpartition(")")[2].split()
            found += [file.parent.name] if (int(owner), state != "Z") == (group, True) else []
    return found


def _wait_until(true: Callable[[], bool]) -> None:
    """Two minutes at most: then the test fails."""
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)
