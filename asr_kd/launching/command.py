"""What a job of Slurm does: run a command that can be stopped and run again."""

import signal
import subprocess
import time
from dataclasses import dataclass, field

from submitit.core.utils import DelayedSubmission

from asr_kd.stopping import STATUS

# Slurm's own patience with jobs that it wants to end (KillWait, GraceTime) is mostly half a minute.
_PATIENCE_SECONDS = 120.0
_SAVING_SECONDS = 60.0  # for the command to keep its state, of submitit's 90
_POLL_SECONDS = 0.2


@dataclass
class ResumableCommand:
    """A command line; what submitit calls in the job.

    Attributes:
        command: its words.
        log: file for what it prints; it is added to.
    """

    command: list[str]
    log: str
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def __call__(self) -> int:
        """Run it; returns its exit status."""
        with open(self.log, "ab") as log:  # noqa: PTH123 (a string is what is pickled)
            self._process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        # No `wait`: `checkpoint` interrupts this, and could not wait as well.
        while (status := self._process.poll()) is None:
            time.sleep(_POLL_SECONDS)
        if status == STATUS:
            # Slurm asked all of the job to stop, and queues it again unless it ends by itself.
            time.sleep(_PATIENCE_SECONDS)
        return status

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before it queues the job again: the command keeps its state and ends.

        Returns:
            What is to be called then.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return DelayedSubmission(ResumableCommand(self.command, self.log))
