"""Measurements of single units of work, in worker processes that are all busy as they would be in a run.

Each function imports its own libraries: how long that takes is measured as well.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from asr_kd import memory

# Libraries that processes load, see `costs.Step`.
NUMPY, KALDI, TORCH, EVERYTHING = "numpy", "kaldi", "torch", "torch and kaldi"


@dataclass(frozen=True)
class Measured:
    """What a unit of work takes.

    Attributes:
        seconds: of one process.
        bytes: of private memory, whatever the amount of work.
    """

    seconds: float
    bytes: int = 0


Found = dict[str, Measured]


def start(asked_at: float) -> Found:
    """Libraries, by the time and memory that a process takes from being asked for until it has them.

    Args:
        asked_at: `time.time()` when it was.
    """
    found: list[tuple[float, int]] = []
    for load in (_load_numpy, _load_kaldi, _load_torch):
        load()
        found.append((time.time() - asked_at, memory.private(os.getpid())))
    numpy, kaldi, everything = (Measured(*one) for one in found)
    # Loaded last here, and without the others by processes that train.
    torch = Measured(
        numpy.seconds + everything.seconds - kaldi.seconds, numpy.bytes + everything.bytes - kaldi.bytes
    )
    return {NUMPY: numpy, KALDI: kaldi, TORCH: torch, EVERYTHING: everything}


def _load_numpy() -> None:
    from asr_kd.features import extract  # noqa: F401


def _load_kaldi() -> None:
    from asr_kd import hmm  # noqa: F401
    from asr_kd.decoding import decode  # noqa: F401


def _load_torch() -> None:
    from asr_kd.distillation import teachers  # noqa: F401
    from asr_kd.training import jobs  # noqa: F401


def private_bytes() -> int:
    """Private memory of this process, without what it is done with but has kept for later."""
    memory.give_back()
    return memory.private(os.getpid())


def repeat(function: Callable[[], Any], seconds: float) -> float:
    """The mean time of a call, over as many as there are in so many seconds."""
    calls, started = 0, perf_counter()
    while True:
        function()
        calls += 1
        taken = perf_counter() - started
        if taken >= seconds:
            return taken / calls
