"""Jobs through a real Slurm, which these tests start."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_kd import artifacts, cli
from asr_kd.launching.slurm import FOLDER
from tests import slurm_cluster
from tests.killing import start
from tests.small_mini import content, work_of

pytestmark = pytest.mark.slurm

SLURM = ("launcher=slurm", "launcher.poll_seconds=0.5", "launcher.cores=1", "launcher.minutes=60")
# Long enough to be disturbed.
LONG = ("train.optimiser.epochs=60", "train.optimiser.checkpoint_seconds=0.5")


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")):
        yield


def run(settings: list[str], *more: str) -> int:
    return cli.main(["run", *settings, *more])  # of settings that come twice, the last holds


def queue() -> dict[str, str]:
    """The states of all jobs, by number."""
    command = ["squeue", "--noheader", "--array", "--format=%i %T"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split() for line in lines)


def wait_for(work: Path, job: str, words: str, seconds: float = 120.0) -> str:
    """Until the log of a job has some words; returns the number of the job."""
    log = work / FOLDER / f"{job}.log"
    until = time.monotonic() + seconds
    while not log.exists() or words not in log.read_text():
        assert time.monotonic() < until, f"no {words!r} in {log}"
        time.sleep(0.1)
    return log.with_suffix(".number").read_text()


def wait_for_empty_queue(seconds: float = 60.0) -> None:
    """A job's answer is there a little before Slurm knows that it has ended."""
    until = time.monotonic() + seconds
    while queue():
        assert time.monotonic() < until, queue()
        time.sleep(0.5)


def test_an_ensemble_through_slurm_ends_in_the_bytes_of_local_jobs(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(mini)
    one_at_a_time = content(work)
    for stage in ("features", "train", "distill", "compress", "decode"):
        shutil.rmtree(work / stage)
    capsys.readouterr()
    assert run(mini, *SLURM, "stage=features", "stop_stage=decode") == 0
    assert content(work) == one_at_a_time
    said = capsys.readouterr().out
    assert "members: 2 jobs of 1 cores are with Slurm" in said
    assert "member-1: epoch 2/2" in said  # what jobs print is passed on
    assert "systems: " in said and "features: 1 jobs" in said
    assert run(mini, *SLURM, "stage=features", "stop_stage=decode") == 0
    assert "with Slurm" not in capsys.readouterr().out  # all is up to date
    for stage in ("train", "distill"):
        shutil.rmtree(work / stage)
    settings = [one for one in mini if not one.startswith("workers=")]
    assert run(settings, "workers=2", "stage=train", "stop_stage=distill") == 0
    assert content(work) == one_at_a_time


def disturbed(mini: list[str], disturb: str) -> str:
    """Train long, disturb the first member's job in the middle; the bytes of both, and what was said."""
    work = work_of(mini)
    long = (*LONG, "stage=train", "stop_stage=train")
    assert run(mini, *long) == 0
    undisturbed = content(work, ["train"])
    shutil.rmtree(work / "train")
    process = start([*mini, *SLURM, *long])
    try:
        number = wait_for(work, "train-member-0", "epoch 3/60")
        subprocess.run([*disturb.split(), number], check=True)
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert content(work, ["train"]) == undisturbed
    return output


@pytest.mark.parametrize("disturb", ["scontrol requeue", "scancel --signal=USR2"])
def test_a_job_that_is_killed_and_queued_again_ends_in_the_same_bytes(mini: list[str], disturb: str) -> None:
    assert "member-0: goes on at epoch" in disturbed(mini, disturb)


def test_a_cancelled_job_is_named_and_alone_tried_again(
    mini: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(mini)
    settings = [*mini, *SLURM, *LONG, "train.optimiser.epochs=20", "stage=train", "stop_stage=train"]
    process = start(settings)
    try:
        number = wait_for(work, "train-member-1", "epoch 2/20")
        subprocess.run(["scancel", number], check=True)
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "1 of 2 members failed" in output and f"member-1: job {number} ended without a word" in output
    before = artifacts.Artifact(work / "train" / "member-0").manifest
    assert run(settings) == 0
    said = capsys.readouterr().out
    assert "member-0: up to date" in said and "members: 1 jobs of" in said and "member-1: goes on at" in said
    assert artifacts.Artifact(work / "train" / "member-0").manifest == before


def test_a_run_that_is_killed_finds_its_jobs_again(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(mini)
    settings = [*mini, *SLURM, *LONG, "stage=train", "stop_stage=train"]
    process = start(settings)
    try:
        number = wait_for(work, "train-member-0", "epoch 2/60")
    finally:
        process.kill()
    assert number in queue()
    assert run(settings) == 0
    said = capsys.readouterr().out
    assert f"member-0: goes on as Slurm's job {number}" in said
    wait_for_empty_queue()


def test_a_run_that_is_interrupted_takes_its_jobs_along(mini: list[str]) -> None:
    work = work_of(mini)
    process = start([*mini, *SLURM, *LONG, "stage=train", "stop_stage=train"])
    try:
        wait_for(work, "train-member-0", "epoch 2/60")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143 and "the same command goes on from here" in output
    wait_for_empty_queue()
    assert (work / "train" / ".member-0.partial" / ".checkpoint.pt").exists()


def test_what_slurm_does_not_take_is_an_error_of_the_user(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(work_of(mini) / "train")
    assert run(mini, *SLURM, "launcher.partition=none", "stage=train", "stop_stage=train") == 1
    said = capsys.readouterr().err
    assert "members: Slurm takes no such jobs" in said and "invalid partition" in said


def test_runs_of_a_sweep_are_jobs(mini: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    swept = "distill.students.student.temperature=1,4"
    assert cli.main(["sweep", "name=slurm", swept, "stop_stage=distill", *SLURM, *mini]) == 0
    said = capsys.readouterr().out
    assert said.count("runs: 1 jobs of 1 cores are with Slurm") == 2
    table = work_of(mini) / "sweeps" / "slurm" / "sweep.md"
    rows = [line.split("|")[1:3] for line in table.read_text().splitlines() if line.startswith("|")]
    assert {cell.strip() for row in rows for cell in row} >= {"1", "4"}
