"""Killing the program: `python -m tests.killing CHANGES VERB ...`, and tests that make use of it.

The program's whole process group is killed with SIGKILL before the change to the disk that is one more than
CHANGES in any one of its processes. Worker processes read this module anew, and count for themselves.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd.seeding import generator
from tests.small_mini import SAME_BYTES, content

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync")
NEVER = 1_000_000_000


def _arm(changes: int) -> None:
    left = changes

    def count(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            os.killpg(0, signal.SIGKILL)
        return call(*arguments, **named)

    for name in CALLS:
        setattr(os, name, partial(count, getattr(os, name)))


def start(settings: Sequence[str], changes: int = NEVER, verb: str = "run") -> "subprocess.Popen[str]":
    """The program, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.killing", str(changes), verb, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )


def is_killed(settings: Sequence[str], changes: int, seconds: float | None) -> bool:
    """Whether a run is killed, by what it changes or after so many seconds, before it is through."""
    process = start(settings, changes)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), output
    return process.returncode != 0


def kill_and_go_on(
    settings: Sequence[str],
    work: Path,
    stage: str,
    kills: int,
    most_changes: int,
    seconds: float,
    beside: Sequence[Path] = (),
) -> int:
    """Kill a stage again and again, started anew each time, and compare what it makes in the end.

    Every other kill is drawn by the number of changes to the disk, the others by time. A run that gets
    through before it is killed is compared, and everything it made is removed.

    Args:
        settings: of a finished, undisturbed run.
        work: its folder.
        stage: to kill; what it made is removed first.
        kills: how many.
        most_changes: that a process may make before it is killed.
        seconds: that a run may take before it is killed, to begin with; then, what one took.
        beside: further folders that the stage makes.

    Returns:
        How many finished runs were compared.
    """
    random, whole, compared = generator(0, "kills", stage), content(work, [stage]), 0
    own = [*settings, f"stage={stage}", f"stop_stage={stage}"]
    killed = 0
    _remove(work / stage, *beside)
    while killed < kills:
        by_changes = killed % 2 == 0
        changes = int(most_changes ** random.uniform(0, 1)) if by_changes else NEVER
        started = time.monotonic()
        if is_killed(own, changes, None if by_changes else random.uniform(0.2, 1.0) * seconds):
            killed += 1
        else:
            compared += _compare(work, stage, whole)
            seconds = time.monotonic() - started
            _remove(work / stage, *beside)
    assert not is_killed(own, NEVER, None)
    return compared + _compare(work, stage, whole)


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)


def _compare(work: Path, stage: str, whole: dict[str, str]) -> int:
    found = content(work, [stage])
    assert found.keys() == whole.keys()  # nothing is left over
    different = [name for name in whole if found[name] != whole[name]]
    assert not different or stage not in SAME_BYTES, different
    return 1


if __name__ in {"__main__", "__mp_main__"}:
    _arm(int(sys.argv[1]))
if __name__ == "__main__":
    # Whoever runs the tests in the background has it ignored, and programs inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from asr_kd import cli

    sys.exit(cli.main(sys.argv[2:]))
