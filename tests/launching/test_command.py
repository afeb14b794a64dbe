import signal
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit")

from asr_kd.launching.command import ResumableCommand

# Says that it is there, and when asked to stop, that it kept what it had.
PATIENT = """
import signal, sys, time
def keep(*_):
    print("kept", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, keep)
print("there", flush=True)
time.sleep(60)
"""


def test_what_it_prints_is_in_the_log(tmp_path: Path) -> None:
    command = ResumableCommand(
        [sys.executable, "-c", "print('one'); raise SystemExit(3)"], str(tmp_path / "log")
    )
    assert (command(), command()) == (3, 3)
    assert (tmp_path / "log").read_text() == "one\none\n"


def test_before_it_is_queued_again_the_command_keeps_its_state(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ResumableCommand([sys.executable, "-c", PATIENT], str(log))
    found = []

    def interrupt() -> None:
        while not log.exists() or "there" not in log.read_text():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGUSR1)

    class QueuedAgain(Exception):  # noqa: N818
        pass

    def handle(*_: object) -> None:  # as submitit does, in the thread that waits for the command
        found.append(command.checkpoint())
        raise QueuedAgain

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(QueuedAgain):
            command()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert log.read_text() == "there\nkept\n"
    assert found[0].function == ResumableCommand(command.command, command.log)
