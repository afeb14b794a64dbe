"""One run at a time in a work folder, and who it is."""

import errno
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from asr_kd import disk
from asr_kd.errors import AsrKdError

LOCK_FILE = ".lock"
_PATIENCE_SECONDS = 1.0  # `holder` holds it for a moment as well


@contextmanager
def hold(work: Path) -> Iterator[None]:
    """Hold the lock of a work folder.

    It is a lock of the operating system on an open file: it ends with this process however that ends, and
    nothing has to be cleared away after a kill. Worker processes do not inherit it.

    Raises:
        AsrKdError: another run holds it; says who, where and since when.
    """
    with (work / LOCK_FILE).open("a+b", buffering=0) as file:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not take(file):
            if time.monotonic() > until:
                raise AsrKdError(
                    f"{work} is in use by another run ({_in_words(file)}); wait for it or end it, or give "
                    "this run a folder of its own with work=FOLDER"
                )
            time.sleep(0.05)
        who = [os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"), shlex.join(sys.argv)]
        with disk.naming(work / LOCK_FILE):
            file.truncate(0)
            file.write(json.dumps(who).encode())
        yield


def holder(work: Path) -> str | None:
    """Who runs in a work folder, in words; None for nobody."""
    if not (work / LOCK_FILE).exists():
        return None
    with (work / LOCK_FILE).open("rb") as file:
        return None if take(file, shared=True) else _in_words(file)


def take(file: int | IO[bytes], shared: bool = False) -> bool:
    """Take the system's lock of an open file or folder, until it is closed; False if somebody else has it."""
    import fcntl  # here: a recogniser reads artefacts on systems without it

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        # A file system without locks: nobody can know.
    return True


def _in_words(file: IO[bytes]) -> str:
    file.seek(0)
    try:
        process, host, since, command = json.loads(file.read())
    except ValueError:
        return "one that has just begun"
    return f"process {process} on {host}, since {since}: {command}"
