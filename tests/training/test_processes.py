"""Several processes give what one gives, and none is left waiting for another."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr_kd import artifacts
from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.storage import load_model
from asr_kd.training import Trainer
from asr_kd.training.data import FrameData
from asr_kd.training.loader import Context, Loader
from asr_kd.training.objectives import HardObjective, Objective, Targets
from asr_kd.training.processes import ALONE, Group, run_together
from tests.training.test_loop import SETTINGS
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN, toy_data

PLAIN_DNN = {**SMALL_DNN, "batch_norm": False}
# The same batch for both of them, in which padding and frames without a label are spread unevenly.
TRAININGS: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {
    "dnn": (SMALL_DNN, {}),
    "tdnn": (SMALL_TDNN, {}),
    "parts": (PLAIN_DNN, {"micro_batch": "6"}),
    "shards": (SMALL_DNN, {"shard_megabytes": 0}),  # an utterance each: batches that cannot be shared equally
    "bf16": (PLAIN_DNN, {"precision": "bf16"}),
}


@dataclass(frozen=True)
class Training:
    """A toy training.

    Attributes:
        folder: of what it writes, in a folder of its own name.
        names: of `TRAININGS`, in turn.
        killed_at: the call of the objective at which the process of `rank` is ended; 0: never.
        how: "error" or "kill".
        rank: of that process.
    """

    folder: Path
    names: tuple[str, ...] = tuple(TRAININGS)
    killed_at: int = 0
    how: str = "error"
    rank: int = 1


class Killing:
    """The hard objective, until the process is killed by the system."""

    def __init__(self, at_call: int) -> None:
        self.calls, self.at_call = 0, at_call

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return HardObjective()(logits, targets, batch)


class Refusing(Killing):
    """The hard objective, until one process finds fault."""

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        self.calls += 1
        if self.calls == self.at_call:
            raise AsrKdError("toy: something is wrong; mend it")
        return HardObjective()(logits, targets, batch)


def uneven(utterances: int = 41) -> FrameData:
    data = toy_data(utterances=utterances)
    data.targets["labels"].array[::3] = -1
    data.targets["labels"].array[: len(data.targets["labels"].array) // 4] = -1
    return data


def train(training: Training, group: Group) -> None:
    """Train all networks; every process with a dev set of an odd number of utterances."""
    torch.set_num_threads(1)
    for name in training.names:
        model, changes = TRAININGS[name]
        objective: Objective = HardObjective()
        if training.killed_at and group.rank == training.rank:
            objective = (Killing if training.how == "kill" else Refusing)(training.killed_at)
        with group.create(training.folder / name, {"kind": "toy"}) as folder:
            Trainer(
                build(model, DIMS, SENONES, seed=7),
                objective,
                uneven(),
                toy_data(7, seed=1),
                replace(SETTINGS, **changes),
                5,
                torch.device("cpu"),
                folder,
                name,
                group=group,
            ).run()


def together(training: Training, processes: int) -> None:
    run_together(train, training, processes, "cpu", "toy")


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def check_same_curve(one: Path, other: Path, tolerance: float) -> None:
    for record, expected in zip(curve(other), curve(one), strict=True):
        assert record == pytest.approx(expected, rel=tolerance)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of all trainings."""
    folder = tmp_path_factory.mktemp("alone")
    together(Training(folder), 1)
    return folder


def test_two_processes_give_the_curve_and_the_weights_of_one(alone: Path, tmp_path: Path) -> None:
    together(Training(tmp_path), 2)
    for name in TRAININGS:
        tolerance = 0.02 if name == "bf16" else 2e-4
        check_same_curve(alone / name, tmp_path / name, tolerance)
        artifacts.Artifact(tmp_path / name).verify()
        one, two = (load_model(folder / name).state_dict() for folder in (alone, tmp_path))
        for key, weight in one.items() if name != "bf16" else ():
            torch.testing.assert_close(two[key], weight, rtol=1e-2, atol=1e-3, msg=f"{name} {key}")


def test_a_training_goes_on_with_another_number_of_processes(
    alone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    updates = curve(alone / "dnn")[0]["update"]
    begun = Training(tmp_path, ("dnn",), killed_at=updates + 3)
    with pytest.raises(AsrKdError, match=r"^toy: something is wrong; mend it$"):
        together(begun, 2)
    together(replace(begun, killed_at=0), 1)
    assert "goes on at epoch 2" in capfd.readouterr().out
    check_same_curve(alone / "dnn", tmp_path / "dnn", 2e-4)

    with pytest.raises(AsrKdError, match="something is wrong"):
        together(replace(begun, folder=tmp_path / "back", rank=0), 1)
    together(replace(begun, folder=tmp_path / "back", killed_at=0), 2)
    assert "goes on at epoch 2" in capfd.readouterr().out
    check_same_curve(alone / "dnn", tmp_path / "back" / "dnn", 2e-4)


def test_the_death_of_one_process_ends_all_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"^toy: process \d of 2 died .*goes on from the last checkpoint$"):
        together(Training(tmp_path, ("dnn",), killed_at=4, how="kill"), 2)
    assert not (tmp_path / "dnn").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        AsrKdError, match=r"toy: optimiser\.processes=2 from device=cuda on, but there are 1 GPUs"
    ):
        run_together(train, Training(tmp_path), 2, "cuda", "toy")


def test_batches_that_cannot_be_shared_equally_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"batch_frames=32 is 32 pieces .* 3 processes"):
        Trainer(
            build(SMALL_DNN, DIMS, SENONES, seed=7), HardObjective(), uneven(), uneven(5), SETTINGS, 5,
            torch.device("cpu"), tmp_path, "toy", group=Group(0, 3),
        )  # fmt: skip


def test_shares_are_the_batch(tmp_path: Path) -> None:
    data = uneven()

    def batches(group: Group) -> list[Any]:
        context, device = Context(2, 1, 8), torch.device("cpu")
        return list(Loader(data, context, 64, 1 << 20, 3, torch.float16, device, group).epoch(0))

    wholes = batches(ALONE)
    for whole, *shares in zip(wholes, *(batches(Group(rank, 4)) for rank in range(4)), strict=True):
        assert torch.equal(torch.cat([share.inputs for share in shares]), whole.inputs)
        assert torch.equal(torch.cat([share.counted for share in shares]), whole.counted)
        labels = torch.cat([share.targets["labels"] for share in shares])
        assert torch.equal(labels, whole.targets["labels"])
        for rank, share in enumerate(shares):
            assert share.place[:2] == (rank * 2, 8) and share.place.gain == 4
            assert torch.equal(share.place.targets["labels"], labels)


def test_what_cannot_be_shared_is_done_by_all() -> None:
    assert Group(1, 2).share(6) == slice(3, 6)
    assert Group(1, 2).share(5) == slice(0, 5)
    assert ALONE.share(5) == slice(0, 5)


def test_a_compiled_network_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced, and then computed as ever: a compiler of C++ would take minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    for name, changes in (("plain", {}), ("compiled", {"compile": True})):
        monkeypatch.setitem(TRAININGS, name, (PLAIN_DNN, {"epochs": 1, **changes}))
        together(Training(tmp_path, (name,)), 1)
    check_same_curve(tmp_path / "plain", tmp_path / "compiled", 1e-5)
