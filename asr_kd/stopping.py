"""Requests to stop (SIGTERM, and what batch systems send); long work first keeps its state."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# The last two: a batch system's, some time before the end of a job; not every system knows them.
_NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
STATUS = 128 + signal.SIGTERM  # exit status of a program that was asked to stop


class Terminated(KeyboardInterrupt):
    """Somebody asked the program to stop."""


@dataclass(eq=False)
class Deferred:
    """Requests inside of `deferred`.

    Attributes:
        asked: whether there was one.
    """

    asked: bool = False


_deferred: list[Deferred] = []
_missed: list[Deferred] = []  # requests that came to an end by an error


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Inside, a request to stop is only noted; it takes effect at the end.

    An error inside goes first; if somebody copes with it, the request takes effect at the next beginning.

    Raises:
        Terminated: there was a request.
    """
    if _missed:
        _missed.clear()
        raise Terminated
    own = Deferred()
    _deferred.append(own)
    try:
        yield own
    except BaseException:
        _missed.extend([own] * own.asked)
        raise
    finally:
        _deferred.remove(own)
    if own.asked:
        raise Terminated


@contextmanager
def heeded() -> Iterator[None]:
    """Inside, a request to stop raises `Terminated`: workers are ended, and it is said how to go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _ask) for number in SIGNALS}
    try:
        yield
    finally:
        _missed.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _ask(*_: object) -> None:
    if not _deferred:
        raise Terminated
    for one in _deferred:
        one.asked = True
