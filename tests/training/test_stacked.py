"""Networks whose gradients are computed together learn what each learns alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from asr_kd import stopping
from asr_kd.config import OptimiserConfig
from asr_kd.models import build
from asr_kd.models.storage import load_model
from asr_kd.training import Trainer, stacked
from asr_kd.training.objectives import HardObjective, Objective
from asr_kd.training.stacked import ALWAYS, AUTO, Compute, Stack, compute_alone, compute_stacked, follow
from tests.training.test_loop import SETTINGS, KilledError, KillingObjective, same_bytes
from tests.training.test_recovery import Diverging, Narrow, records_of
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN, toy_data

NAMES = ("first", "second", "third")
MODELS: dict[str, Mapping[str, Any]] = {
    "dnn": {**SMALL_DNN, "dropout": 0.0},
    "tdnn": {**SMALL_TDNN, "dropout": 0.0},
    "no batch norm": {**SMALL_DNN, "dropout": 0.0, "batch_norm": False},
}


def trainers(
    folder: Path,
    model: Mapping[str, Any] = MODELS["dnn"],
    settings: OptimiserConfig = SETTINGS,
    objectives: Mapping[str, Objective] | None = None,
    device: str = "cpu",
) -> dict[str, Trainer]:
    """Three networks with weights and an order of the data of their own."""
    made = {}
    for seed, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        made[name] = Trainer(
            build(model, DIMS, SENONES, seed=seed),
            (objectives or {}).get(name, HardObjective()),
            toy_data(utterances=40),
            toy_data(utterances=6, seed=1),
            settings,
            seed=seed,
            device=torch.device(device),
            folder=folder / name,
            name=name,
        )
    return made


def train(made: Mapping[str, Trainer], compute: Compute) -> dict[str, Exception]:
    return follow({name: trainer.steps() for name, trainer in made.items()}, compute)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-4), ("bf16", 2e-2)])
def test_curves_are_those_of_each_alone(tmp_path: Path, name: str, precision: str, tolerance: float) -> None:
    settings = replace(SETTINGS, precision=precision)
    for trainer in trainers(tmp_path / "alone", MODELS[name], settings).values():
        trainer.run()
    assert train(trainers(tmp_path / "stacked", MODELS[name], settings), compute_stacked) == {}
    for member in NAMES:
        alone, found = (records_of(tmp_path / way / member) for way in ("alone", "stacked"))
        assert len(alone) == len(found) == SETTINGS.epochs
        for one, other in zip(alone, found, strict=True):
            for key in ("train_loss", "dev_cross_entropy"):
                assert other[key] == pytest.approx(one[key], rel=tolerance)
    losses = {records_of(tmp_path / "stacked" / member)[0]["train_loss"] for member in NAMES}
    assert len(losses) == len(NAMES)  # none has another's data or weights


def test_running_statistics_are_those_of_each_alone(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1)
    assert train(trainers(tmp_path / "alone", settings=settings), compute_alone) == {}
    assert train(trainers(tmp_path / "stacked", settings=settings), compute_stacked) == {}
    for member in NAMES:
        alone, found = (load_model(tmp_path / way / member) for way in ("alone", "stacked"))
        buffers = dict(found.named_buffers())
        assert buffers["layers.norm0.num_batches_tracked"] > 0
        for key, buffer in alone.named_buffers():
            torch.testing.assert_close(buffers[key], buffer, rtol=1e-4, atol=1e-5)


def test_each_has_masks_of_its_own(tmp_path: Path) -> None:
    made = trainers(tmp_path, SMALL_DNN | {"dropout": 0.5})
    twins = [made["first"]] * 2
    batch = next(iter(made["first"].loader.epoch(0)))
    one, other = compute_stacked([stacked.Work(trainer, batch) for trainer in twins])
    assert one != other


def test_a_training_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    objectives = {"second": Diverging(*range(1, 100))}
    failures = train(trainers(tmp_path, objectives=objectives), compute_stacked)
    assert list(failures) == ["second"] and "the loss of update 1 is nan" in str(failures["second"])
    for member in ("first", "third"):
        assert load_model(tmp_path / member).senones == SENONES
    assert not (tmp_path / "second" / "model.safetensors").exists()


def test_one_that_goes_back_an_epoch_goes_on_beside_the_others(tmp_path: Path) -> None:
    train(trainers(tmp_path / "whole"), compute_stacked)
    updates = records_of(tmp_path / "whole" / "second")[0]["update"]
    mended = trainers(tmp_path / "mended", objectives={"second": Diverging(updates + 3)})
    assert train(mended, compute_stacked) == {}
    last = {member: records_of(tmp_path / "mended" / member)[-1] for member in NAMES}
    assert last["second"]["roll_backs"] == 1 and "roll_backs" not in last["first"]
    for member in ("first", "third"):
        whole = records_of(tmp_path / "whole" / member)[-1]
        assert last[member]["train_loss"] == pytest.approx(whole["train_loss"], rel=2e-4)


@pytest.mark.parametrize("at_call", [2, 30])
def test_killed_and_started_again_they_end_in_the_same_bytes(tmp_path: Path, at_call: int) -> None:
    train(trainers(tmp_path / "whole"), compute_stacked)
    killed = trainers(tmp_path / "killed", objectives={"second": KillingObjective(at_call)})
    with pytest.raises(KilledError):
        train(killed, compute_stacked)
    assert train(trainers(tmp_path / "killed"), compute_stacked) == {}
    for member in NAMES:
        same_bytes(tmp_path / "whole" / member, tmp_path / "killed" / member)


def test_asked_to_stop_each_keeps_its_state(tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=1e9)
    train(trainers(tmp_path / "whole", settings=settings), compute_stacked)

    def asking(works: Sequence[stacked.Work]) -> stacked.Losses:
        if works[0].trainer.progress.updates == 5:
            stopping._ask()
        return compute_stacked(works)

    with pytest.raises(stopping.Terminated):
        train(trainers(tmp_path / "stopped", settings=settings), asking)
    again = trainers(tmp_path / "stopped", settings=settings)
    resumed = []

    def watching(works: Sequence[stacked.Work]) -> stacked.Losses:
        resumed.append([work.trainer.progress.updates for work in works])
        return compute_stacked(works)

    stopping._missed.clear()  # as at the end of `heeded`
    assert train(again, watching) == {}
    assert sorted(resumed[0]) == [5, 5, 6]  # the first one was told after its update, the others before
    for member in NAMES:
        whole, found = (records_of(tmp_path / way / member) for way in ("whole", "stopped"))
        assert [one["update"] for one in whole] == [one["update"] for one in found]
        assert found[-1]["train_loss"] == pytest.approx(whole[-1]["train_loss"], rel=2e-4)


def test_out_of_memory_each_goes_on_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objectives = {"second": Narrow(most=10)}
    assert train(trainers(tmp_path, objectives=objectives), Stack(ALWAYS)) == {}
    said = capsys.readouterr().out
    assert "gradients of all networks: one after another from here on (out of memory)" in said
    assert "second: out of memory with 16 frames at a time, goes on with 8" in said
    assert "first: out of memory" not in said


def test_one_that_does_not_fit_at_all_leaves_the_others_alone(tmp_path: Path) -> None:
    failures = train(trainers(tmp_path, objectives={"second": Narrow(most=0)}), Stack(ALWAYS))
    assert list(failures) == ["second"] and "lower the size of the model" in str(failures["second"])
    for member in ("first", "third"):
        assert load_model(tmp_path / member).senones == SENONES


@pytest.mark.parametrize("faster", [compute_stacked, compute_alone])
def test_the_faster_way_is_chosen(
    tmp_path: Path, faster: Compute, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, ways = 0.0, list[Compute]()

    def taking(way: Compute) -> Callable[[Sequence[stacked.Work]], stacked.Losses]:
        def computed(works: Sequence[stacked.Work]) -> stacked.Losses:
            nonlocal now
            ways.append(way)
            # The first few of each are slow: they allocate memory and choose kernels.
            now += (1.0 if way is faster else 2.0) + (10.0 if ways.count(way) <= stacked._WARMING else 0.0)
            return way(works)

        return computed

    for way, name in ((compute_stacked, "compute_stacked"), (compute_alone, "compute_alone")):
        monkeypatch.setattr(stacked, name, taking(way))
    monkeypatch.setattr(stacked, "perf_counter", lambda: now)
    assert train(trainers(tmp_path), Stack(AUTO)) == {}
    tried = 2 * (stacked._WARMING + stacked._TIMED)
    assert ways[:tried].count(compute_stacked) == ways[:tried].count(compute_alone) == tried // 2
    assert set(ways[tried:]) == {faster}
    what = "stacked" if faster is compute_stacked else "one after another"
    assert f"gradients of all networks: {what} from here on" in capsys.readouterr().out


def test_batches_of_different_sizes_are_computed_one_by_one(tmp_path: Path) -> None:
    made = trainers(tmp_path)
    works = [
        stacked.Work(trainer, trainer.loader._load(range(40)).batch(torch.arange(count)))  # type: ignore[arg-type]
        for trainer, count in zip(made.values(), (32, 32, 31), strict=True)
    ]
    assert len(Stack(ALWAYS)(works)) == 3
