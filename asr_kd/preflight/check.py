"""The estimate of a run, made in a process of its own, and what is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_kd import memory
from asr_kd.artifacts import MANIFEST
from asr_kd.config import Config
from asr_kd.disk import NoRoomError
from asr_kd.errors import AsrKdError
from asr_kd.jobs import map_processes
from asr_kd.preflight import table
from asr_kd.preflight.table import Estimate
from asr_kd.progress import say
from asr_kd.stages.order import Stage

MEASURED_SECONDS = 1.0  # every network is measured for so long


@dataclass(frozen=True)
class Asked:
    """What is to be estimated.

    Attributes:
        config: of the recipe.
        stages: names of stages.
        seconds: to measure the speed of a network for.
    """

    config: Config
    stages: tuple[str, ...]
    seconds: float


def check(config: Config, stages: Sequence[Stage]) -> Estimate | None:
    """Estimate what some stages will take, write it to ``preflight.json`` and show it.

    Args:
        config: of a recipe whose stage data is done: without its manifests nothing is known.
        stages: that are to run.

    Returns:
        The estimate, without stages where all is up to date; None where stage data is not done, or nothing
        can be measured.

    Raises:
        NoRoomError: the disk of the work folder has no room for what will be written.
    """
    work = Path(config.work)
    if not (work / "data" / MANIFEST).is_file():
        return None
    asked = Asked(config, tuple(stage.name for stage in stages), MEASURED_SECONDS)
    # In a process of its own, whose libraries take no memory of the stages to come.
    try:
        ((_, found),) = map_processes(_estimate, [asked], 1, "preflight")
    except NoRoomError:
        raise
    except AsrKdError as error:
        # Whatever it is, the stage that it concerns will say it; two minutes of speech may just be too few.
        say(f"preflight: there is no estimate: {error}")
        return None
    if not found.stages:
        return found
    table.write(work, found)
    say(table.render(found))
    for warning in memory_warnings(found, memory.budget().size):
        say(warning)
    return found


def memory_warnings(found: Estimate, budget: int | None) -> list[str]:
    """What to say of stages of which the memory budget, in bytes, has no room for a single process."""
    return [
        f"preflight: one process of stage {name} takes about {memory.in_words(stage.process_bytes)} of "
        f"memory, and there are {memory.in_words(budget)}: it may run out (see memory_budget)"
        for name, stage in found.stages.items()
        if budget is not None and stage.process_bytes > budget
    ]


def _estimate(asked: Asked) -> Estimate:
    # Here: this process needs none of the rooms, and a stage may do with less than all of them.
    from asr_kd.preflight.estimate import estimate

    return estimate(asked.config, asked.stages, asked.seconds)
