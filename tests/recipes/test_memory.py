"""A budget is kept: by a run, and whatever the size of the corpus."""

import json
from pathlib import Path

import pytest

from asr_kd import cli
from asr_kd.bench.memory import compare, table
from tests.small_mini import content, settings_in

pytestmark = pytest.mark.recipe
HOURS = [5.0, 100.0]
MEGABYTES = 2300  # an export to ONNX takes 1.3 GB, and this process 0.8


def test_a_run_with_a_small_budget_keeps_it_and_ends_in_the_same_bytes(
    finished_mini: Path, tmp_path: Path
) -> None:
    settings = [*settings_in(finished_mini / "corpora", tmp_path / "exp"), "workers=8"]
    assert cli.main(["run", *settings, f"memory_budget={MEGABYTES} MB", "stop_stage=decode"]) == 0
    assert content(tmp_path / "exp") == content(finished_mini / "exp")
    lines = (tmp_path / "exp" / "stages.jsonl").read_text().splitlines()
    peaks = {record["stage"]: record["memory_megabytes"] for record in map(json.loads, lines)}
    assert {stage: peak for stage, peak in peaks.items() if peak > MEGABYTES} == {}


def test_peak_memory_does_not_grow_with_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = compare(HOURS, tmp_path, "1 GB", workers=2)
    with capsys.disabled():
        print(f"\n{table(HOURS, peaks)}")
    assert {stage: last / first for stage, (first, last) in peaks.items() if last > 1.1 * first} == {}
