import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd import artifacts
from asr_kd.config import Config, DataConfig, DistillConfig, OptimiserConfig, StudentConfig, TrainConfig
from asr_kd.errors import AsrKdError
from asr_kd.layout import member_folders
from asr_kd.models.storage import load_model
from asr_kd.stages import train
from tests.training.toy import SENONES, SMALL_DNN, SMALL_TDNN, toy_data
from tests.work_folder import write_features

PARTS = ("train", "dev", "test")
OPTIMISER = OptimiserConfig(epochs=2, batch_frames=64, peak_learning_rate=1e-2)


def trainable_work(work: Path) -> Config:
    """A recipe whose features and labels are there: three members of two architectures, one student."""
    for seed, part in enumerate(PARTS):
        data = toy_data(utterances=20, seed=seed, failed=1)
        index, fbank = data.features.index, data.features.array
        write_features(work, part, index, fbank, np.zeros((index.total_frames, 13), np.float32))
        np.save(work / f".{part}.npy", data.targets["labels"].array)
    with artifacts.create(work / "align" / "labels", {"kind": "labels"}) as folder:
        for part in PARTS:
            (work / f".{part}.npy").rename(folder / f"{part}.npy")
        (folder / "summary.json").write_text(json.dumps({"senones": SENONES}))
    return Config(
        recipe="toy",
        work=str(work),
        workers=2,
        device="cpu",
        data=DataConfig(corpus="toy"),
        models={"small": dict(SMALL_DNN), "delays": dict(SMALL_TDNN)},
        train=TrainConfig(members=3, models=["small", "delays"], optimiser=replace(OPTIMISER)),
        distill=DistillConfig(
            top_k=3, students={"student": StudentConfig(model="small", optimiser=replace(OPTIMISER))}
        ),
    )


def test_members_take_the_models_in_turn_and_are_made_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trainable_work(tmp_path)
    train.run(config, tmp_path)
    folders = member_folders(config, tmp_path)
    models = [load_model(folder) for folder in folders]
    assert [model.settings.kind for model in models] == ["dnn", "tdnn", "dnn"]
    first, third = models[0].state_dict(), models[2].state_dict()
    assert all((first[name] != third[name]).any() for name in first if name.endswith("linear0.weight"))
    for folder in folders:
        files = {file.name for file in folder.iterdir()}
        assert files == {"model.safetensors", "model.json", "log.jsonl", "curve.png", "manifest.json"}
    before = [artifacts.Artifact(folder).digest for folder in folders]
    capsys.readouterr()
    train.run(config, tmp_path)
    assert "member-0: up to date\nmember-1: up to date\nmember-2" in capsys.readouterr().out

    # Only the member that uses a changed model is trained again; the number of workers changes nothing.
    config.models["delays"]["channels"] = 8
    train.run(config, tmp_path)
    after = [artifacts.Artifact(folder).digest for folder in folders]
    assert (after[0], after[2]) == (before[0], before[2]) and after[1] != before[1]
    config.models["delays"]["channels"] = SMALL_TDNN["channels"]
    train.run(replace(config, workers=1), tmp_path)
    assert [artifacts.Artifact(folder).digest for folder in folders] == before


def test_unknown_model_is_refused_with_the_setting_that_asks_for_it(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.train.models = ["large"]
    with pytest.raises(AsrKdError, match=r"train\.models asks for model 'large'.*delays, small"):
        train.run(config, tmp_path)


def test_no_members_are_refused(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.train.members = 0
    with pytest.raises(AsrKdError, match=r"train\.members"):
        train.run(config, tmp_path)


def test_no_threads_are_refused(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.train.optimiser.threads = 0
    with pytest.raises(AsrKdError, match=r"optimiser\.threads=0"):
        train.run(config, tmp_path)


def test_missing_labels_name_the_stage(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    (tmp_path / "align" / "labels" / "summary.json").unlink()
    with pytest.raises(AsrKdError, match="run stage align"):
        train.run(config, tmp_path)


def test_members_that_are_trained_together_differ_by_rounding_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = trainable_work(tmp_path)
    config.train.members = 4
    config.train.optimiser = replace(config.train.optimiser, precision="fp32")  # bf16 rounds coarsely
    for model in config.models.values():
        model["dropout"] = 0.0
    train.run(config, tmp_path)
    apart = [load_model(folder).state_dict() for folder in member_folders(config, tmp_path)]
    config.train.stacked = "always"
    capsys.readouterr()
    train.run(config, tmp_path)
    assert "member-3: up to date" in capsys.readouterr().out  # how they are trained is not what they are
    for folder in member_folders(config, tmp_path)[:3]:
        shutil.rmtree(folder)
    train.run(config, tmp_path)
    for folder, expected in zip(member_folders(config, tmp_path), apart, strict=True):
        for name, weight in load_model(folder).state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4)


def test_of_members_that_are_trained_together_only_those_that_failed_are_missing(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.train = replace(config.train, stacked="always", models=["small"])
    member_folders(config, tmp_path)[1].parent.mkdir()
    member_folders(config, tmp_path)[1].with_name(".member-1.partial").write_text("in the way")
    with pytest.raises(AsrKdError, match=r"1 of 3 models failed, the others are done.*member-1"):
        train.run(config, tmp_path)
    assert [folder.is_dir() for folder in member_folders(config, tmp_path)] == [True, False, True]


def test_unknown_ways_of_stacking_are_refused(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.train.stacked = "yes"
    with pytest.raises(AsrKdError, match=r"train\.stacked=yes is not known; give auto, always, never"):
        train.run(config, tmp_path)
