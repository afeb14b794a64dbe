"""Asking the stages what they would make today, while nothing is made.

A stage's `plan` declares its artefacts, each with the very function that gives its fingerprint in a run. Some
of these functions would make what is missing on their way: inside `looking` they are stopped.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr_kd.errors import AsrKdError
from asr_kd.jobs import Job


class ArtifactJob(Job, Protocol):
    """A job that makes one artefact.

    Attributes:
        made_from: its fingerprint.
    """

    @property
    def made_from(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Wanted:
    """An artefact that a stage declares.

    Attributes:
        path: where it belongs.
        made_from: gives its fingerprint as of today; raises `UnsettledError` where something that it is made
            from is still to be made, and AsrKdError where that cannot be used.
        job: gives what makes it by itself; none: its stage does, in the process that runs it.
    """

    path: Path
    made_from: Callable[[], Mapping[str, Any]]
    job: Callable[[], Job] | None = None

    @classmethod
    def by(cls, path: Path, job: Callable[[], ArtifactJob]) -> "Wanted":
        """What a job makes."""
        return cls(path, lambda: job().made_from, job)


class UnsettledError(AsrKdError):
    """Asked for was what a run has still to make."""


_unsettled: ContextVar[set[Path] | None] = ContextVar("unsettled", default=None)


@contextmanager
def looking() -> Iterator[set[Path]]:
    """Inside, nothing may be made.

    Yields:
        The folders that a run would make (anew), to be filled by the caller: whoever asks for the content of
        one of them is told that nobody knows it.
    """
    unsettled: set[Path] = set()
    token = _unsettled.set(unsettled)
    try:
        yield unsettled
    finally:
        _unsettled.reset(token)


def is_looking() -> bool:
    """Whether nothing may be made."""
    return _unsettled.get() is not None


def check_may_make(path: Path) -> None:
    """To be called before `path` is made.

    Raises:
        UnsettledError: inside `looking`.
    """
    if is_looking():
        raise UnsettledError(f"{path} is to be made first")


def check_settled(path: Path) -> None:
    """To be called before the content of `path` is asked for.

    Raises:
        UnsettledError: inside `looking`, it is known that a run would make it.
    """
    if path in (_unsettled.get() or ()):
        check_may_make(path)
