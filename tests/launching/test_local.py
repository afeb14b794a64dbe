import os
from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.jobs import OWN_WORKERS
from asr_kd.launching.local import LocalLauncher, attempt
from tests.launching.work import Marking


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_that_fail_or_die_leave_the_others_alone(tmp_path: Path, workers: int) -> None:
    failures = ["", "user", "die", "", "disk", ""]
    jobs = [Marking(tmp_path / f"job-{number}", failure) for number, failure in enumerate(failures)]
    with pytest.raises(AsrKdError) as raised:
        LocalLauncher(workers).map(jobs, "marks")
    message = str(raised.value)
    assert message.startswith("3 of 6 marks failed, the others are done; the same command tries again")
    assert "; job-2: a worker process died" in message
    assert "job-1: give another" in message and "job-1: job-1" not in message
    assert "job-4: /full: No space left on device; make room there" in message
    assert {file.name for file in tmp_path.iterdir()} == {"job-0", "job-3", "job-5"}


def test_jobs_run_in_other_processes_and_those_with_workers_in_this_one(tmp_path: Path) -> None:
    for name, cores, here in (("own", OWN_WORKERS, True), ("plain", 1, False)):
        LocalLauncher(2).map([Marking(tmp_path / name, cores=cores)], "marks")
        assert (int((tmp_path / name).read_text()) == os.getpid()) is here


def test_a_job_alone_gives_its_reason_and_no_count(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"^one: give another$"):
        LocalLauncher(2).map([Marking(tmp_path / "one", "user")], "marks")


def test_many_failures_are_counted_and_some_named(tmp_path: Path) -> None:
    jobs = [Marking(tmp_path / f"job-{number}", "user", OWN_WORKERS) for number in range(9)]
    with pytest.raises(AsrKdError, match=r"9 of 9 marks failed.*job-4: give another; and 4 more$"):
        LocalLauncher(1).map(jobs, "marks")


def test_a_defect_keeps_its_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "KeyError('nothing')" in attempt(Marking(tmp_path / "one", "defect"))
    assert "Traceback" in capfd.readouterr().err


def test_a_shortage_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    assert "out of memory" in attempt(Marking(tmp_path / "one", "memory"))


def test_no_jobs_no_work() -> None:
    LocalLauncher(2).map([], "marks")
