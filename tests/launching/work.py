"""Jobs that only leave a mark."""

import os
from dataclasses import dataclass
from pathlib import Path

from asr_kd.errors import AsrKdError
from asr_kd.jobs import LITTLE, Cost


@dataclass(frozen=True)
class Marking:
    """Writes a file, unless it is to fail.

    Attributes:
        path: the file.
        failure: what it does instead: "user", "disk", "memory", "defect" or "die".
        cores: of its process.
    """

    path: Path
    failure: str = ""
    cores: int = 1
    processes: int = 1
    cost: Cost = LITTLE

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name

    def run(self) -> None:
        """See `jobs.Job`."""
        if self.failure == "die":
            os._exit(9)
        errors = {
            "user": AsrKdError(f"{self.name}: give another"),
            "disk": OSError(28, "No space left on device", "/full"),
            "memory": MemoryError(),
            "defect": KeyError("nothing"),
        }
        if self.failure:
            raise errors[self.failure]
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")
