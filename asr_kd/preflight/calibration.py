"""What units of work take on this machine: measured where it is not known yet, and remembered."""

import hashlib
import json
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from asr_kd import __version__
from asr_kd.artifacts import replace_file
from asr_kd.bench.material import processor
from asr_kd.costs import Constants
from asr_kd.jobs import WorkerPool, available_cores
from asr_kd.preflight import measure
from asr_kd.preflight.decoding import DECODING, FRESH, PEER
from asr_kd.preflight.measure import Found, Measured
from asr_kd.preflight.networks import EXPORT
from asr_kd.preflight.plan import Need
from asr_kd.preflight.speech import ARC, STATISTICS
from asr_kd.preflight.trainings import TRAINING
from asr_kd.progress import say

CACHE_FILE = ".calibration.json"
# Seconds of what is small, or takes too long to be measured: from runs on a current x86 server.
UNMEASURED = {
    STATISTICS: 1.5e-9,
    ARC: 1.6e-5,
    TRAINING: 1.5,
    EXPORT: 4.5,
    DECODING: 0.5,
    FRESH: 0.8,
    PEER: 0.31,
}


def calibrate(needs: Iterable[Need], work: Path, workers: int) -> Constants:
    """Measure what is needed and not remembered in the work folder from before.

    Args:
        needs: what is to be measured.
        work: of the recipe.
        workers: processes.
    """
    path = work / CACHE_FILE
    known = _read(path)
    wanted = {_key(need): need for need in (Need(measure.start, None, workers), *needs)}
    waiting = {key: need for key, need in wanted.items() if key not in known}
    if waiting:
        say(f"preflight: measuring what work takes on this machine ({len(waiting)} measurements)")
        asked_at = time.time()
        with WorkerPool(workers) as pool:
            for key, need in waiting.items():
                of = asked_at if need.measure is measure.start else need.of
                items = [of] * min(need.processes, workers)
                found = [one for _, one in pool.map(need.measure, items, "preflight")]
                known[key] = _mean(found)
        with replace_file(path) as temporary:
            temporary.write_text(json.dumps(_plain(known)) + "\n", encoding="utf-8")
    units = {unit: one for key in wanted for unit, one in known[key].items()}
    return Constants(
        UNMEASURED | {unit: one.seconds for unit, one in units.items()},
        {unit: one.bytes for unit, one in units.items()},
    )


def _mean(found: list[Found]) -> Found:
    """Of processes that did the same at the same time: the mean of their times, the most of memory."""
    return {
        unit: Measured(
            sum(one[unit].seconds for one in found) / len(found), max(one[unit].bytes for one in found)
        )
        for unit in found[0]
    }


def _key(need: Need) -> str:
    """Of a measurement, its settings, and of what it was measured on."""
    machine = [processor(), available_cores(), __version__, version("torch")]
    text = repr([need.measure.__name__, need.of, need.processes, *machine])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(known: dict[str, Found]) -> dict[str, dict[str, list[float]]]:
    return {
        key: {unit: [one.seconds, one.bytes] for unit, one in found.items()} for key, found in known.items()
    }


def _read(path: Path) -> dict[str, Found]:
    """What is remembered; nothing if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: {unit: Measured(float(seconds), int(size)) for unit, (seconds, size) in found.items()}
            for key, found in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
