"""One run at a time in a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asr_kd import cli, lock, pipeline
from asr_kd.errors import AsrKdError

HOLDER = """
import sys, time
from pathlib import Path
from asr_kd import lock

with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.0)


def test_a_second_run_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        with pytest.raises(
            AsrKdError, match=rf"in use by another run \(process {os.getpid()} on .*, since 20"
        ):
            pipeline.run(cli.load(["recipe=mini", f"work={tmp_path}"]))
        assert f"process {os.getpid()} " in (lock.holder(tmp_path) or "")
    assert lock.holder(tmp_path) is None


def test_a_run_that_failed_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.hold(tmp_path):
        raise ZeroDivisionError
    with lock.hold(tmp_path):
        pass


def test_looking_who_is_there_holds_and_makes_nothing(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(AsrKdError, match=f"process {process.pid} "), lock.hold(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path):
        pass


def test_a_holder_that_has_not_yet_said_who_it_is(tmp_path: Path) -> None:
    with lock.hold(tmp_path):
        (tmp_path / lock.LOCK_FILE).write_text("")
        assert lock.holder(tmp_path) == "one that has just begun"
