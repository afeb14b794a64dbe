"""Jobs in processes of this machine."""

from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter

from asr_kd import stopping
from asr_kd.errors import AsrKdError
from asr_kd.jobs import LITTLE, OWN_WORKERS, Cost, Job, WorkerDiedError, explained, map_processes
from asr_kd.launching.launcher import MakeOrder, raise_failures
from asr_kd.launching.order import told


class LocalLauncher:
    """Jobs side by side, each in its own process; those that have workers themselves, one after another."""

    def __init__(self, workers: int) -> None:
        """Compute with so many processes or threads at a time."""
        self._workers = workers

    def map(self, jobs: Sequence[Job], description: str, order: MakeOrder | None = None) -> None:
        """See `Launcher`."""
        if not jobs:
            return
        _stopped.clear()
        cores = max(job.cores for job in jobs)
        if cores == OWN_WORKERS:
            failures = {job.name: attempt(job) for job in jobs}
        else:
            failures = self._side_by_side(jobs, max(1, self._workers // cores), description)
        raise_failures(failures, len(jobs), description)

    def _side_by_side(self, jobs: Sequence[Job], workers: int, description: str) -> dict[str, str]:
        failures: dict[str, str] = {}
        try:
            for place, failure in map_processes(attempt, jobs, workers, description, cost=dearest(jobs)):
                failures[jobs[place].name] = failure
        except WorkerDiedError:
            # It took the pool along: what is left runs in a process of its own, one by one.
            for job in jobs:
                if job.name not in failures:
                    failures[job.name] = self._alone(job)
        return failures

    def _alone(self, job: Job) -> str:
        try:
            ((_, failure),) = map_processes(attempt, [job], 1, job.name, cost=dearest([job]))
        except AsrKdError as error:
            failure = str(error)
        return failure


def dearest(jobs: Sequence[Job]) -> Cost:
    """Of the job that takes most; those that cannot even tell will fail by themselves."""
    costs = [LITTLE]
    for job in jobs:
        with suppress(AsrKdError):
            costs.append(job.cost)
    return max(costs, key=attrgetter("private_bytes"))


_stopped: list[str] = []  # the job at which this process was asked to stop


def attempt(job: Job) -> str:
    """Carry out a job; returns why it failed, or nothing."""
    if _stopped:  # a process of a pool would go on with the next job
        raise stopping.Terminated
    try:
        with explained(job.name, job.cost.lower):
            job.run()
    except Exception as error:  # whatever it is, the other jobs go on, and it is reported
        return told(error)
    except stopping.Terminated:
        _stopped.append(job.name)
        raise
    return ""
