"""Jobs of Slurm, submitted by submitit; all that they share with this process are files.

A job is the command line `asr-kd job FILE`. Slurm ends and requeues jobs as it likes: before that they get a
signal, keep their state, and go on where they were. What they print is passed on, and at the end they answer
with a file.
"""

import os
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from asr_kd import stopping
from asr_kd.config import Config, SlurmConfig
from asr_kd.errors import AsrKdError
from asr_kd.jobs import OWN_WORKERS, Job
from asr_kd.launching.command import ResumableCommand
from asr_kd.launching.launcher import MakeOrder, raise_failures
from asr_kd.launching.order import Order
from asr_kd.launching.submission import Submission
from asr_kd.progress import bar, say

FOLDER = ".jobs"  # of orders, answers and logs, in the work folder


class SlurmLauncher:
    """Every job an element of a job array; waits for all of them."""

    def __init__(self, config: Config, settings: SlurmConfig, work: Path) -> None:
        """Use `settings`, which are those of `config`; files go into the folder `work`."""
        self._config, self._settings, self._folder = config, settings, work / FOLDER

    def map(self, jobs: Sequence[Job], description: str, order: MakeOrder | None = None) -> None:
        """See `Launcher`."""
        make_order = order or self._order_artifact
        submissions = [self._prepare(job, make_order(job)) for job in jobs]
        queued = self._queued() if jobs else set()
        for one in submissions:
            one.adopt(queued)
        self._leave(self._unwanted(submissions, queued))
        fresh = [one for one in submissions if one.fresh]
        try:
            for asked in sorted({(one.cores, one.processes) for one in fresh}):
                self._submit([one for one in fresh if (one.cores, one.processes) == asked], description)
            failures = self._wait(submissions, description)
        except KeyboardInterrupt:
            _cancel([one.identifier for one in submissions if one.identifier])
            raise
        raise_failures(failures, len(jobs), description)

    def _order_artifact(self, job: Job) -> Order:
        return Order.of(self._config, job.path)

    def _prepare(self, job: Job, order: Order) -> Submission:
        settings = self._settings
        cores = settings.cores if job.cores == OWN_WORKERS else job.cores
        name = "-".join(job.path.relative_to(self._config.work).parts)
        return Submission(job.name, self._folder / f"{name}.json", order.to_json(cores), cores, job.processes)

    def _submit(self, submissions: Sequence[Submission], description: str) -> None:
        executor = self._executor(submissions[0], description)
        for one in submissions:
            one.write()
        commands = [ResumableCommand(one.command, str(one.log)) for one in submissions]
        # A request to stop waits until the jobs' numbers are known: without them nobody could end them.
        with stopping.deferred():
            try:
                with executor.batch():
                    jobs = [executor.submit(command) for command in commands]
            except (FailedJobError, FailedSubmissionError) as error:
                raise AsrKdError(f"{description}: Slurm takes no such jobs: {error}") from error
            for one, job in zip(submissions, jobs, strict=True):
                one.submitted(job.job_id)
        cores = submissions[0].cores
        say(f"{description}: {len(jobs)} jobs of {cores} cores are with Slurm, first {jobs[0].job_id}")

    def _executor(self, first: Submission, description: str) -> submitit.SlurmExecutor:
        settings = self._settings
        try:
            executor = submitit.SlurmExecutor(self._folder / "slurm", max_num_timeout=settings.requeues)
        except RuntimeError as error:
            raise AsrKdError(f"launcher=slurm: {error}; run where Slurm's commands are") from error
        wanted: dict[str, Any] = {
            "job_name": f"{self._config.recipe} {description}",
            "partition": settings.partition,
            "account": settings.account,
            "qos": settings.qos,
            "time": settings.minutes,
            "cpus_per_task": first.cores,
            "gpus_per_node": settings.gpus * first.processes or None,
            "mem": f"{int(1000 * settings.memory_gigabytes)}M" if settings.memory_gigabytes else None,
            "array_parallelism": settings.at_once,
            "setup": list(settings.setup) or None,
            "additional_parameters": {"requeue": True, **_options(settings.options)},
            # Slurm gives a step no more cores than it is told of.
            "srun_args": [f"--cpus-per-task={first.cores}"],
        }
        executor.update_parameters(**{name: value for name, value in wanted.items() if value is not None})
        return executor

    def _wait(self, submissions: Sequence[Submission], description: str) -> dict[str, str]:
        """Until every job has answered or is gone; returns why it failed, empty if it did not."""
        failures: dict[str, str] = {}
        waiting = list(submissions)
        with bar(len(waiting), description) as progress:
            while waiting:
                time.sleep(self._settings.poll_seconds)
                queued = self._queued()
                for one in list(waiting):
                    ended = one.ended(queued)
                    one.pass_on()
                    if ended is not None:
                        failures[one.name] = ended
                        waiting.remove(one)
                        progress.update()
        return failures

    def _unwanted(self, submissions: Sequence[Submission], queued: Collection[str]) -> list[str]:
        """Jobs that a run which was killed left in the queue, and that do nothing that is wanted now."""
        left = {number.read_text(encoding="utf-8") for number in self._folder.glob("*.number")}
        wanted = {one.identifier for one in submissions if not one.fresh}
        return sorted(left.intersection(queued) - wanted)

    def _leave(self, identifiers: Sequence[str]) -> None:
        """End jobs, and wait until they are gone."""
        _cancel(identifiers)
        while identifiers and not self._queued().isdisjoint(identifiers):
            time.sleep(self._settings.poll_seconds)

    def _queued(self) -> set[str]:
        """The user's jobs that Slurm has not done with; every element of an array by itself."""
        command = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i"]
        while True:
            try:
                found = subprocess.run(command, capture_output=True, text=True, check=True)
                return set(found.stdout.split())
            except FileNotFoundError as error:
                raise AsrKdError("launcher=slurm: no squeue here; run where Slurm's commands are") from error
            except subprocess.CalledProcessError as error:
                # Controllers are restarted now and then; the jobs run on.
                say(f"squeue: {error.stderr.strip()}; asks again")
                time.sleep(max(self._settings.poll_seconds, 10.0))


def _cancel(identifiers: Sequence[str]) -> None:
    if identifiers:
        subprocess.run(["scancel", *identifiers], check=False, capture_output=True)


def _options(given: Sequence[str]) -> dict[str, Any]:
    """Options of sbatch as submitit wants them: a value, or True for those that have none."""
    pairs = [one.lstrip("-").partition("=") for one in given]
    return {name: value if equals else True for name, equals, value in pairs}
