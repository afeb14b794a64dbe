import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asr_kd.config import OptimiserConfig
from asr_kd.distillation.soft_targets import quantise
from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.training import Trainer
from asr_kd.training.checkpoint import CHECKPOINT_FILE, load_checkpoint
from asr_kd.training.data import FrameData, PerFrame
from asr_kd.training.metrics import evaluate
from asr_kd.training.objectives import DistillationObjective, HardObjective, Objective
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN, toy_data

SETTINGS = OptimiserConfig(
    epochs=3, batch_frames=32, peak_learning_rate=1e-2, checkpoint_seconds=0.0, precision="fp32"
)
FILES = ("model.safetensors", "model.json", "log.jsonl", "curve.png")


class KilledError(Exception):
    """Stands for a kill."""


class KillingObjective:
    """The hard objective, killed at the given call."""

    def __init__(self, at_call: int) -> None:
        self.calls, self.at_call = 0, at_call

    def __call__(self, logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            raise KilledError
        return HardObjective()(logits, targets)


def train(
    folder: Path,
    objective: Objective | None = None,
    settings: OptimiserConfig = SETTINGS,
    model: Mapping[str, Any] = SMALL_DNN,
    data: FrameData | None = None,
) -> None:
    folder.mkdir(exist_ok=True)
    Trainer(
        build(model, DIMS, SENONES, seed=7),
        objective or HardObjective(),
        data or toy_data(utterances=40),
        toy_data(utterances=6, seed=1),
        settings,
        seed=5,
        device=torch.device("cpu"),
        folder=folder,
        name="toy",
    ).run()


def same_bytes(one: Path, other: Path) -> None:
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("model", [SMALL_DNN, SMALL_TDNN])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_logs_and_keeps_the_best_weights(
    tmp_path: Path, model: Mapping[str, Any], precision: str
) -> None:
    train(tmp_path, model=model, settings=replace(SETTINGS, epochs=6, precision=precision))
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["train_loss"] < 0.8 * records[0]["train_loss"]
    assert records[-1]["dev_frame_accuracy"] > 0.7
    # The stored model is the one of the best epoch.
    measured = evaluate(partial(log_posteriors, load_model(tmp_path)), toy_data(utterances=6, seed=1))
    best = min(record["dev_cross_entropy"] for record in records)
    assert measured.cross_entropy == pytest.approx(best, rel=1e-5 if precision == "fp32" else 0.03)


def test_best_and_not_last_weights_are_kept(tmp_path: Path) -> None:
    # A rate that stays far too high: later epochs are worse than the best one.
    wild = replace(SETTINGS, epochs=4, peak_learning_rate=1.0, final_learning_rate=1.0)
    train(tmp_path, settings=wild)
    checkpoint = load_checkpoint(tmp_path / CHECKPOINT_FILE)
    assert checkpoint is not None
    losses = [record["dev_cross_entropy"] for record in checkpoint["progress"]["records"]]
    assert losses[-1] > min(losses)
    stored = load_model(tmp_path).state_dict()
    assert any(not torch.equal(stored[name], checkpoint["model"][name]) for name in stored)


@pytest.mark.parametrize("shard_megabytes", [2000, 0])  # 0: every utterance is a shard of its own
def test_interrupted_training_ends_in_the_same_bytes(tmp_path: Path, shard_megabytes: int) -> None:
    data = toy_data(utterances=16)
    settings = replace(SETTINGS, epochs=2, shard_megabytes=shard_megabytes)
    train(tmp_path / "whole", settings=settings, data=data)
    updates = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[0])["update"]
    # Before the first update, in the middle of an epoch, before its last update, after it, and much later.
    for call in (1, 3, updates, updates + 1, 2 * updates - 1):
        folder = tmp_path / f"killed-{call}"
        with pytest.raises(KilledError):
            train(folder, KillingObjective(call), settings, data=data)
        train(folder, settings=settings, data=data)
        same_bytes(tmp_path / "whole", folder)


def test_interruption_between_checkpoints_repeats_what_was_lost(tmp_path: Path) -> None:
    rare = replace(SETTINGS, checkpoint_seconds=1e9)  # at the end of each epoch only
    train(tmp_path / "whole", settings=rare)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", KillingObjective(40), rare)
    train(tmp_path / "killed", settings=rare)
    same_bytes(tmp_path / "whole", tmp_path / "killed")


def test_finished_training_run_again_changes_nothing(tmp_path: Path) -> None:
    train(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    train(tmp_path, KillingObjective(1))  # no update is made
    assert before == {name: (tmp_path / name).read_bytes() for name in FILES}


def test_loss_that_is_not_finite_stops_loudly(tmp_path: Path) -> None:
    class Broken(KillingObjective):
        def __call__(self, logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
            self.calls += 1
            return logits.sum() * (math.nan if self.calls == self.at_call else 0.0)

    with pytest.raises(AsrKdError, match=r"toy: in epoch 1 the loss of update 3 is nan"):
        train(tmp_path, Broken(3), replace(SETTINGS, roll_backs=0))


def test_features_that_are_not_finite_stop_loudly(tmp_path: Path) -> None:
    data = toy_data(utterances=40)
    data.features.array[10] = np.nan
    with pytest.raises(AsrKdError, match="is nan"):
        train(tmp_path, data=data)


@pytest.mark.parametrize("label", [SENONES, -2])
def test_labels_that_are_no_senones_are_refused_by_name(tmp_path: Path, label: int) -> None:
    data = toy_data(utterances=40)
    data.targets["labels"].array[data.features.index.span("utterance-7").start] = label
    with pytest.raises(AsrKdError, match=rf"toy, part train, utterance utterance-7: labels from .*{label}"):
        train(tmp_path, data=data)


def test_a_loss_that_no_weight_changes_stops_loudly(tmp_path: Path) -> None:
    def deaf(logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return 0.0 * logits.sum() + 1.0

    with pytest.raises(AsrKdError, match="toy: in epoch 1 the loss depended on no weight"):
        train(tmp_path, deaf)


def test_a_gradient_that_is_not_finite_stops_loudly(tmp_path: Path) -> None:
    def steep(logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return (logits - logits).abs().sum().sqrt()  # 0, with an infinite slope

    with pytest.raises(AsrKdError, match="the gradient of update 1 has norm nan"):
        train(tmp_path, steep)


def test_an_exploding_loss_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = 0

    def growing(logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        return HardObjective()(logits, targets) * 1.5**calls

    train(tmp_path, growing, replace(SETTINGS, roll_backs=0))
    assert "toy: the loss has grown from" in capsys.readouterr().out


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(AsrKdError, match=r"\.checkpoint\.pt is damaged"):
        train(tmp_path)


def test_a_checkpoint_with_a_flipped_bit_is_named(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, KillingObjective(20))
    path = tmp_path / CHECKPOINT_FILE
    content = path.read_bytes()
    checkpoint = load_checkpoint(path)
    assert checkpoint is not None
    # In the middle of the values of a weight: no structure of the file is hurt.
    values = next(iter(checkpoint["model"].values())).numpy().tobytes()
    place = content.index(values) + len(values) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(AsrKdError, match=r"\.checkpoint\.pt is damaged"):
        train(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_frames": 0}, "batch_frames=0"),
        ({"threads": 0}, "threads=0"),
        ({"shard_megabytes": -1}, "shard_megabytes=-1"),
        ({"peak_learning_rate": -1.0}, "peak_learning_rate=-1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"warmup_fraction": 1.0}, "warmup_fraction=1.0"),
        ({"precision": "fp8"}, "precision=fp8"),
        ({"roll_backs": -1}, "roll_backs=-1"),
        ({"micro_batch": "small"}, "micro_batch=small"),
        ({"micro_batch": "0"}, "micro_batch=0"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AsrKdError, match=message):
        train(tmp_path, settings=replace(SETTINGS, **changes))


def test_student_learns_from_soft_targets_alone(tmp_path: Path) -> None:
    data = toy_data(utterances=40)
    index, labels = data.features.index, data.targets["labels"].array
    probabilities = np.full((index.total_frames, SENONES), 0.1 / (SENONES - 1))
    probabilities[np.arange(len(labels)), labels] = 0.9
    ids = np.argsort(-probabilities, axis=1)[:, :2].astype(np.uint16)
    top = np.take_along_axis(probabilities, ids.astype(int), 1)
    targets = {
        "labels": PerFrame(index, np.full_like(labels, -1)),
        "ids": PerFrame(index, ids),
        "levels": PerFrame(index, quantise(torch.from_numpy(top).log()).numpy()),
        "log_rest": PerFrame(index, np.log(1 - top.sum(1)).astype(np.float16)),
    }
    soft = FrameData(data.features, targets, index.ids)
    train(tmp_path, DistillationObjective(1.0, 1.0, 0.5), replace(SETTINGS, epochs=6), data=soft)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[-1]["dev_frame_accuracy"] > 0.7
