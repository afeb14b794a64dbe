"""What every launcher does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from asr_kd.errors import AsrKdError
from asr_kd.jobs import Job
from asr_kd.launching.order import Order

MakeOrder = Callable[[Any], Order]
_NAMED = 5  # failures that a message names


class Launcher(Protocol):
    """Carries out independent jobs."""

    def map(self, jobs: Sequence[Job], description: str, order: MakeOrder | None = None) -> None:
        """Carry out all jobs; one that fails leaves the others alone.

        Args:
            jobs: in any order; each can be begun again whenever it was ended.
            description: of all of them, in the plural.
            order: what a job is where it is carried out by a command of its own; none: to make the artefact
                at its `path`, as the plan of its stage has it.

        Raises:
            AsrKdError: some failed, each with its reason. What the others made is there, and the same command
                tries again what is missing.
        """
        ...


def raise_failures(failures: Mapping[str, str], jobs: int, description: str) -> None:
    """Tell which of so many `jobs` failed.

    Args:
        failures: reasons by name; empty for a job that did not fail.
        jobs: in all.
        description: of all of them.

    Raises:
        AsrKdError: there is a failure.
    """
    failed = {name: why for name, why in failures.items() if why}
    if not failed:
        return
    named = [why if why.startswith(name) else f"{name}: {why}" for name, why in failed.items()]
    if jobs == 1:
        raise AsrKdError(named[0])
    more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    raise AsrKdError(
        f"{len(failed)} of {jobs} {description} failed, the others are done; the same command tries again "
        f"what is missing. {'; '.join(named[:_NAMED] + more)}"
    )
