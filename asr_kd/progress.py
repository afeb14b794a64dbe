"""Progress bars for people, silence for logs."""

import sys
from collections.abc import Iterable, Iterator
from threading import RLock
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

# tqdm's own lock spans processes by a semaphore: an interrupted run would end with a word on its leak.
tqdm.set_lock(RLock())

_silent = False


def be_silent() -> None:
    """From here on this process shows nothing: another one does the same work and tells of it."""
    global _silent  # noqa: PLW0603
    _silent = True


def bar(total: int | None, description: str, unit: str = "it") -> "tqdm[Any]":
    """A progress bar with an estimate of the time left; quiet where standard error is not a terminal."""
    hidden = _silent or not sys.stderr.isatty()
    return tqdm(total=total, desc=description, unit=unit, disable=hidden, leave=False)


def track(items: Iterable[Item], total: int | None, description: str, unit: str = "it") -> Iterator[Item]:
    """Pass `items` on, showing how far they have come."""
    with bar(total, description, unit) as progress:
        for item in items:
            yield item
            progress.update()


def clock(seconds: float) -> str:
    """A time for people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def say(message: str) -> None:
    """One line about what the program does, on standard output, not torn by a progress bar."""
    if _silent:
        return
    tqdm.write(message, file=sys.stdout)
    sys.stdout.flush()
