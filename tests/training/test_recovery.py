"""Trainings that diverge go back and on; those that run out of memory go on in smaller pieces."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.storage import load_model
from asr_kd.training import Trainer
from asr_kd.training.loop import ROLL_BACK_RATE
from asr_kd.training.objectives import HardObjective, Targets
from tests.training.test_loop import SETTINGS, KilledError, same_bytes, train
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN, toy_data

PLAIN_DNN = {**SMALL_DNN, "batch_norm": False}
PLAIN_TDNN = {**SMALL_TDNN, "batch_norm": False}


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The log of a training."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Diverging:
    """The hard objective, not a number at some calls, killed at another."""

    def __init__(self, *bad: int, kill_at: int = 0) -> None:
        self.calls, self.bad, self.kill_at = 0, bad, kill_at

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        self.calls += 1
        if self.calls == self.kill_at:
            raise KilledError
        return HardObjective()(logits, targets) * (math.nan if self.calls in self.bad else 1.0)


def updates_an_epoch(folder: Path) -> int:
    """Of the toy training."""
    train(folder / "counted", settings=replace(SETTINGS, epochs=1))
    return int(records_of(folder / "counted")[0]["update"])


def test_a_diverged_training_goes_back_an_epoch_and_on_with_half_the_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    updates = updates_an_epoch(tmp_path)
    train(tmp_path / "whole")
    train(tmp_path / "mended", Diverging(updates + 3))
    said = capsys.readouterr().out
    assert f"in epoch 2 the loss of update {updates + 3} is nan" in said
    assert "toy: back to the end of epoch 1, roll-back 1 of 2: the learning rate is 0.5 of" in said
    whole, mended = records_of(tmp_path / "whole"), records_of(tmp_path / "mended")
    assert mended[0] == whole[0]  # the good epoch stays
    assert [record["update"] for record in mended] == [record["update"] for record in whole]
    for before, after in zip(whole[1:], mended[1:], strict=True):
        assert after["learning_rate"] == pytest.approx(ROLL_BACK_RATE * before["learning_rate"])
        assert after["roll_backs"] == 1


def test_the_first_epoch_goes_back_to_the_initial_weights(tmp_path: Path) -> None:
    train(tmp_path / "mended", Diverging(3))
    # The same as a training at half the rate from the start.
    train(tmp_path / "half", settings=replace(SETTINGS, peak_learning_rate=5e-3, final_learning_rate=5e-6))
    mended, slower = (load_model(tmp_path / name).state_dict() for name in ("mended", "half"))
    for name, weight in mended.items():
        torch.testing.assert_close(weight, slower[name], rtol=1e-4, atol=1e-5)


def test_a_training_that_keeps_diverging_stops_with_the_reason(tmp_path: Path) -> None:
    third_of_every_attempt = (3, 6, 9)
    with pytest.raises(AsrKdError, match=r"in epoch 1 the loss of update 3 is nan; lower optimiser\.peak"):
        train(tmp_path, Diverging(*third_of_every_attempt))
    patient = replace(SETTINGS, roll_backs=3)
    train(tmp_path / "patient", Diverging(*third_of_every_attempt), patient)
    assert records_of(tmp_path / "patient")[-1]["roll_backs"] == 3


def test_an_exploding_loss_is_rolled_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    updates, calls = updates_an_epoch(tmp_path), 0

    def growing(logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        return HardObjective()(logits, targets) * (100.0 if updates < calls <= 2 * updates else 1.0)

    train(tmp_path / "exploding", growing)
    said = capsys.readouterr().out
    assert "in epoch 2 the loss has grown from" in said and "roll-back 1 of 2" in said
    assert records_of(tmp_path / "exploding")[-1]["train_loss"] < 10


@pytest.mark.parametrize("kill_after", [1, 5, 20])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_a_training_killed_after_a_roll_back_ends_in_the_same_bytes(
    tmp_path: Path, kill_after: int, checkpoint_seconds: float
) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=checkpoint_seconds)
    bad = updates_an_epoch(tmp_path) + 3
    train(tmp_path / "whole", Diverging(bad), settings)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", Diverging(bad, kill_at=bad + kill_after), settings)
    train(tmp_path / "killed", settings=settings)
    same_bytes(tmp_path / "whole", tmp_path / "killed")


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


class Narrow:
    """The hard objective, out of memory with more frames than `most` at a time, killed at a call."""

    def __init__(self, most: int, kill_at: int = 0) -> None:
        self.most, self.kill_at, self.calls, self.sizes = most, kill_at, 0, set[int]()

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        self.calls += 1
        if self.calls == self.kill_at:
            raise KilledError
        if len(logits) > self.most:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.sizes.add(len(logits))
        return HardObjective()(logits, targets, batch)


def test_a_shortage_of_memory_halves_what_is_computed_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = Narrow(most=10)
    train(tmp_path / "whole", model=PLAIN_DNN)
    train(tmp_path / "parts", narrow, model=PLAIN_DNN)  # batches of 32 frames
    assert max(narrow.sizes) == 8
    said = capsys.readouterr().out
    assert "out of memory with 32 frames at a time, goes on with 16" in said
    assert "out of memory with 16 frames at a time, goes on with 8" in said
    whole, parts = records_of(tmp_path / "whole"), records_of(tmp_path / "parts")
    assert parts[-1]["micro_batch"] == 8 and "micro_batch" not in whole[-1]
    for one, other in zip(whole, parts, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)


def test_what_is_computed_at_once_stays_small_after_a_kill(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train(tmp_path, Narrow(20, kill_at=30), SETTINGS, PLAIN_DNN)
    train(tmp_path, model=PLAIN_DNN)
    assert {record["micro_batch"] for record in records_of(tmp_path)} == {16}


def test_where_it_is_not_allowed_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"toy: out of memory with 16 frames .*lower optimiser\.micro_batch"):
        train(tmp_path, Narrow(10), replace(SETTINGS, micro_batch="16"), PLAIN_DNN)


def test_a_network_that_does_not_fit_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"out of memory with 1 frames .*lower the size of the model"):
        train(tmp_path, Narrow(0), model=PLAIN_DNN)


def test_that_batch_normalisation_sees_parts_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, Narrow(20), replace(SETTINGS, epochs=1))
    assert "batch normalisation sees these" in capsys.readouterr().out


@pytest.mark.parametrize("model", [PLAIN_DNN, PLAIN_TDNN])
def test_parts_give_the_update_of_the_whole(tmp_path: Path, model: Mapping[str, Any]) -> None:
    data = toy_data(utterances=40)
    # Frames without a label do not count, and are not as many in every part.
    data.targets["labels"].array[::3] = -1

    def trainer(micro_batch: str) -> Trainer:
        settings = replace(SETTINGS, batch_frames=64, micro_batch=micro_batch)
        return Trainer(
            build(model, DIMS, SENONES, seed=7), HardObjective(0.1), data, toy_data(6, seed=1),
            settings, 5, torch.device("cpu"), tmp_path, "toy",
        )  # fmt: skip

    whole, parts = trainer("auto"), trainer("24")
    for batch in list(whole.loader.epoch(0))[:5]:
        losses = [one.update(batch, 1e-2) for one in (whole, parts)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
