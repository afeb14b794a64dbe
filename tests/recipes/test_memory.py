"""A budget is kept: by a run, and whatever the size of the corpus."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from asr_kd import cli
from asr_kd.bench.memory import compare, table
from asr_kd.costs import export_memory
from asr_kd.jobs import WorkerPool
from asr_kd.memory import MEGABYTE, Watch
from tests.small_mini import content, settings_in

pytestmark = pytest.mark.recipe
HOURS = [5.0, 100.0]
MEGABYTES = 2300  # this process takes 0.8 GB, and where members are trained two others 0.5 each
UTTERANCE_FRAMES, SENONES = 500, 1000


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


@pytest.mark.parametrize("units", [300, 2000])
def test_an_export_takes_about_what_is_counted(units: int) -> None:
    with WorkerPool(1) as pool:
        ((_, (peak, parameters)),) = pool.map(_export, [units], "export")
    counted = export_memory(UTTERANCE_FRAMES, SENONES, parameters)
    assert 0.8 * peak - 50 * MEGABYTE < counted < 1.25 * peak + 50 * MEGABYTE


def _export(units: int) -> tuple[int, int]:
    """The most private memory while a network is exported, and its parameters."""
    from asr_kd.compression.export import export_checked
    from asr_kd.compression.quantise import quantise
    from asr_kd.models import build

    settings = {"kind": "dnn", "left_context": 5, "right_context": 5, "hidden_layers": 4}
    model = build({**settings, "hidden_units": units, "dropout": 0.0}, 40, SENONES).eval()
    features = np.random.default_rng(0).normal(size=(UTTERANCE_FRAMES, 40)).astype(np.float16)
    with TemporaryDirectory() as folder, Watch(seconds=0.05) as seen:
        whole = Path(folder) / "whole.onnx"
        export_checked(model, whole, [features] * 5)
        quantise(whole, Path(folder) / "int8.onnx", "dynamic", [features])
    return seen.peak, model.parameter_count
