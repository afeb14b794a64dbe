"""What is computed on a GPU is what a CPU computes, within rounding; skipped where there is no GPU.

Whatever these tests call is tested on CPUs as well: here is only what a device can do differently.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_kd.config import FeatureConfig, OptimiserConfig
from asr_kd.distillation.scoring import score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings
from asr_kd.distillation.teachers import Teachers
from asr_kd.features.extract import Extraction, make_backend
from asr_kd.frames import FrameIndex
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import save_model
from asr_kd.training import Trainer
from asr_kd.training.loader import Context, Loader
from asr_kd.training.objectives import HardObjective
from asr_kd.training.processes import ALONE, Group, run_together
from asr_kd.training.stacked import AUTO, Stack, compute_alone
from tests.training import test_stacked
from tests.training.test_loop import SETTINGS
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN, toy_data

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ("cpu", "cuda")
PLAIN = replace(SETTINGS, precision="fp32")
MODELS = {"dnn": {**SMALL_DNN, "dropout": 0.0}, "tdnn": {**SMALL_TDNN, "dropout": 0.0}}


def test_features() -> None:
    random = np.random.default_rng(0)
    waveforms = [(0.1 * random.standard_normal(count)).astype(np.float32) for count in (90, 16_000, 50_000)]
    settings = FeatureConfig(backend="torchaudio")
    found = [
        make_backend(Extraction(settings, 16_000, device=device)).compute(waveforms) for device in DEVICES
    ]
    for expected, computed in zip(*found, strict=True):
        np.testing.assert_allclose(computed, expected, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_posteriors(name: str, precision: torch.dtype, tolerance: float) -> None:
    frames = np.random.default_rng(0).normal(size=(50, DIMS)).astype(np.float16)
    model = build(MODELS[name], DIMS, SENONES, seed=0)
    expected = log_posteriors(model, frames)
    found = log_posteriors(model.to("cuda"), frames, precision=precision)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=tolerance)


def test_soft_targets(tmp_path: Path) -> None:
    folders = []
    for number in range(3):
        folders.append(tmp_path / f"member-{number}")
        folders[-1].mkdir()
        save_model(folders[-1], build(MODELS["dnn"], DIMS, SENONES, seed=number))
    index = FrameIndex.from_lengths(["a", "b", "c"], ["s"] * 3, [40, 1, 90])
    np.save(tmp_path / "fbank.npy", np.random.default_rng(0).normal(size=(131, DIMS)).astype(np.float16))
    stores = []
    for device in DEVICES:
        (tmp_path / device).mkdir()
        settings = TargetSettings("arithmetic", top_k=3, temperatures=(2.0,), senones=SENONES)
        SoftTargets.create(tmp_path / device, index, settings, origin={})
        teachers = Teachers.of(folders, SENONES, "arithmetic")
        score_teachers(tmp_path / device, tmp_path / "fbank.npy", index, teachers, device, workers=1)
        stores.append(SoftTargets.reopen(tmp_path / device))
    cpu, gpu = stores
    assert (cpu.ids == gpu.ids).mean() > 0.98  # but for ties
    assert np.abs(cpu.levels.astype(int) - gpu.levels).max() <= 2


@pytest.mark.parametrize("shard_bytes", [10**9, 2000])
def test_batches(shard_bytes: int) -> None:
    """The same, whether all data are on the device or gathered ahead in pinned memory."""
    data, context = toy_data(40), Context(2, 1, 1)
    loaders = [
        Loader(data, context, 16, shard_bytes, 0, torch.float16, torch.device(device)) for device in DEVICES
    ]
    for expected, found in zip(*(loader.epoch(0) for loader in loaders), strict=True):
        assert found.inputs.is_cuda and torch.equal(found.inputs.cpu(), expected.inputs)
        assert torch.equal(found.targets["labels"].cpu(), expected.targets["labels"])


def trained(folder: Path, name: str, device: str, settings: OptimiserConfig, group: Group = ALONE) -> None:
    model = build(MODELS[name], DIMS, SENONES, seed=7)
    with group.create(folder, {"kind": "toy"}) as own:
        Trainer(
            model, HardObjective(), toy_data(41), toy_data(7, seed=1), settings, 5,
            group.device(torch.device(device)), own, name, group=group,
        ).run()  # fmt: skip


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def check_same_curve(one: Path, other: Path, tolerance: float) -> None:
    for record, expected in zip(curve(other), curve(one), strict=True):
        assert record == pytest.approx(expected, rel=tolerance, abs=0.02)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("bf16", 0.05)])
def test_a_training(tmp_path: Path, name: str, precision: str, tolerance: float) -> None:
    trained(tmp_path / "cpu", name, "cpu", PLAIN)
    trained(tmp_path / "cuda", name, "cuda", replace(PLAIN, precision=precision))
    check_same_curve(tmp_path / "cpu", tmp_path / "cuda", tolerance)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("bf16", 0.05)])
def test_networks_together(tmp_path: Path, name: str, precision: str, tolerance: float) -> None:
    settings = replace(PLAIN, precision=precision)
    test_stacked.train(test_stacked.trainers(tmp_path / "cpu", MODELS[name], PLAIN), compute_alone)
    test_stacked.train(
        test_stacked.trainers(tmp_path / "cuda", MODELS[name], settings, device="cuda"), Stack(AUTO)
    )
    for member in test_stacked.NAMES:
        check_same_curve(tmp_path / "cpu" / member, tmp_path / "cuda" / member, tolerance)


def train_in_group(folder: Path, group: Group) -> None:
    trained(folder, "dnn", "cuda", PLAIN, group)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")
def test_two_gpus_give_the_curve_of_one(tmp_path: Path) -> None:
    trained(tmp_path / "one", "dnn", "cuda", PLAIN)
    run_together(train_in_group, tmp_path / "two", 2, "cuda", "toy")
    check_same_curve(tmp_path / "one", tmp_path / "two", 0.01)


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    from asr_kd import memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert memory.is_shortage(caught.value)
