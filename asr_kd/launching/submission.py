"""A job of a batch system with its files: the order, the answer, the log, and the number it goes by."""

import json
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_kd.launching.order import answer_file, read_answer, write_json
from asr_kd.progress import say

# A job that has left the queue without an answer: so long may the answer be on its way through the network.
PATIENCE_SECONDS = 30.0
_LAST_LINES = 3  # of a log, in messages


@dataclass
class Submission:
    """A job and what is known of it.

    Attributes:
        name: for messages.
        order: its file.
        content: of that file.
        cores: that it asks for.
        processes: of its training.
        identifier: the batch system's, once it is submitted.
        fresh: whether it is still to be submitted.
    """

    name: str
    order: Path
    content: Mapping[str, Any]
    cores: int
    processes: int
    identifier: str = ""
    fresh: bool = True
    _passed_on: int = 0  # bytes of the log
    _gone_since: float | None = None

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.order.with_suffix(".log")

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return [sys.executable, "-m", "asr_kd", "job", str(self.order.absolute())]

    @property
    def _number(self) -> Path:
        return self.order.with_suffix(".number")

    def adopt(self, queued: Collection[str]) -> None:
        """Take over the job that a run which was killed has left in the queue.

        `fresh` is False if it does just what is wanted now.
        """
        if not self._number.is_file() or (number := self._number.read_text(encoding="utf-8")) not in queued:
            return
        if read_answer(self.order) is not None:  # it is through, and will leave the queue in a moment
            return
        if json.loads(self.order.read_text(encoding="utf-8")) == json.loads(json.dumps(self.content)):
            self.identifier, self.fresh = number, False
            self._passed_on = self._log_size()
            say(f"{self.name}: goes on as Slurm's job {number}")

    def write(self) -> None:
        """The order; the answer to an older one goes."""
        self.order.parent.mkdir(parents=True, exist_ok=True)
        answer_file(self.order).unlink(missing_ok=True)
        self._number.unlink(missing_ok=True)
        write_json(self.order, self.content)
        self._passed_on = self._log_size()

    def submitted(self, identifier: str) -> None:
        """Note the batch system's identifier."""
        self.identifier, self.fresh = identifier, False
        self._number.write_text(identifier, encoding="utf-8")

    def pass_on(self) -> None:
        """Say what the job has printed since the last time, in whole lines."""
        if self._log_size() <= self._passed_on:
            return
        with self.log.open("rb") as file:
            file.seek(self._passed_on)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._passed_on += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            say(line)

    def ended(self, queued: Collection[str]) -> str | None:
        """Why the job failed, empty if it did not; None as long as it is not through.

        Args:
            queued: the jobs that the batch system has not done with.
        """
        answer = read_answer(self.order)
        if answer is not None or self.identifier in queued:
            self._gone_since = None
            return answer
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since < PATIENCE_SECONDS:
            return None
        last = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if self.log.exists() else []
        return (
            f"job {self.identifier} ended without a word: cancelled, or killed for want of memory "
            f"(launcher.memory_gigabytes); {self.log} ends: {' / '.join(last) or 'empty'}"
        )

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0
