"""Every stage of recipe `mini` killed at random, started again, and compared with a run that was not."""

import time
from pathlib import Path

import pytest

from asr_kd import cli
from tests.killing import kill_and_go_on
from tests.small_mini import content, settings_in

# By stage: more where pieces are finished one by one.
KILLS = {
    "data": 8,
    "features": 6,
    "align": 8,
    "train": 10,
    "distill": 10,
    "compress": 8,
    "decode": 8,
    "bench": 4,
}


@pytest.mark.recipe
def test_every_stage_survives_being_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work, corpora = tmp_path / "exp", tmp_path / "corpora"
    # A checkpoint every now and then: kills fall between them and between epochs.
    trained = ("train", "distill.students.student", "compress.pruned.half")
    often = [f"{one}.optimiser.checkpoint_seconds=0.2" for one in trained]
    settings = [*often, *settings_in(corpora, work)]
    seconds = {}
    for stage in KILLS:
        started = time.monotonic()
        assert cli.main(["run", *settings, f"stage={stage}", f"stop_stage={stage}"]) == 0
        seconds[stage] = time.monotonic() - started
    whole = content(work)
    compared = 0
    for stage, kills in KILLS.items():
        beside = {"data": [corpora], "bench": [work / "bench-deployed"]}.get(stage, [])
        longest = seconds[stage] + 5.0  # and what loading takes
        compared += kill_and_go_on(settings, work, stage, kills, 40, longest, beside)
    assert content(work) == whole
    with capsys.disabled():
        print(
            f"\n{sum(KILLS.values())} kills of {len(KILLS)} stages survived; {compared} finished stages "
            f"compared, {len(whole)} files the same"
        )
