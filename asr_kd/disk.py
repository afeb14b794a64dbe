"""What can go wrong with a disk, in words that name the path and say what to do."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_kd.errors import AsrKdError

_ROOM = (
    "make room there, or move the work folder to a larger disk (work=FOLDER), and run the same command again"
)
_RIGHTS = (
    "change its owner or permissions, or give another folder (work=FOLDER), and run the same command again"
)
# What users mend. Other errors of files are defects of ours.
ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), and run the same command again",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.EIO: "the disk may be failing: look at the system's log, and copy what you need",
}
# Libraries that write in C say that they could not, and not why. With so little room it is the disk.
_FULL_BYTES = 100_000


class NoRoomError(AsrKdError):
    """A disk has no room for what is about to be written."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors while something is written to `path` get its name: the system does not know that of open files.

    Raises:
        OSError: with a file name; also where a library wraps a full disk into an error of its own.
    """
    try:
        yield
    except AsrKdError:
        raise
    except Exception as error:
        # numpy has an OSError without a number for what it could not write.
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno in ADVICE and error.filename is None:
                error.filename = str(path)
        elif path.parent.exists() and shutil.disk_usage(path.parent).free < _FULL_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
        raise


def advice(error: OSError) -> str | None:
    """The message for a user; None if it is nothing that they can mend."""
    if error.errno not in ADVICE:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; {ADVICE[error.errno]}"
