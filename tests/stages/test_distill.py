from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr_kd import artifacts
from asr_kd.config import Config, StudentConfig
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.errors import AsrKdError
from asr_kd.layout import member_folders
from asr_kd.models import build
from asr_kd.models.storage import load_model, save_model
from asr_kd.stages import distill
from tests.stages.test_train import OPTIMISER, trainable_work
from tests.training.toy import DIMS, SENONES


@pytest.fixture
def with_members(tmp_path: Path) -> Config:
    """A recipe whose members are there, untrained: what they say is not the matter here."""
    config = trainable_work(tmp_path)
    for number, folder in enumerate(member_folders(config, tmp_path)):
        with artifacts.create(folder, {"kind": "member", "number": number}) as partial:
            save_model(partial, build(config.models["small"], DIMS, SENONES, seed=number))
    return config


def test_targets_and_students_are_made_once_and_follow_their_settings(
    with_members: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soft = StudentConfig(model="delays", temperature=4.0, hard_weight=0.0, optimiser=replace(OPTIMISER))
    with_members.distill.students["soft"] = soft
    distill.run(with_members, tmp_path)
    store = SoftTargets.open(tmp_path / "distill" / "targets")
    assert store.settings.temperatures == (2.0, 4.0)
    # Utterances without an alignment have soft targets too.
    assert np.isfinite(store.log_rest).all() and (store.log_probabilities < 0).any(1).all()
    assert load_model(tmp_path / "distill" / "student").settings.kind == "dnn"
    assert load_model(tmp_path / "distill" / "soft").settings.kind == "tdnn"

    digests = {name: artifacts.Artifact(tmp_path / "distill" / name).digest for name in ("student", "soft")}
    capsys.readouterr()
    distill.run(with_members, tmp_path)
    said = capsys.readouterr().out
    assert all(f"{name}: up to date" in said for name in ("soft targets", "student", "soft"))

    soft.soft_weight = 3.0
    distill.run(with_members, tmp_path)
    changed = {name: artifacts.Artifact(tmp_path / "distill" / name).digest for name in digests}
    assert changed["student"] == digests["student"] and changed["soft"] != digests["soft"]


def test_no_students_need_no_targets(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.distill.students = {}
    distill.run(config, tmp_path)
    assert not (tmp_path / "distill").exists()


@pytest.mark.parametrize(
    ("name", "student", "message"),
    [
        ("targets", StudentConfig(), "choose another name"),
        ("other", StudentConfig(model="large"), r"distill\.students\.other\.model asks for model 'large'"),
        ("other", StudentConfig(model="small", temperature=0.0), "temperature=0.0"),
        ("other", StudentConfig(model="small", soft_weight=0.0, hard_weight=0.0), "one must be positive"),
    ],
)
def test_students_without_sense_are_refused_before_the_teachers_work(
    tmp_path: Path, name: str, student: StudentConfig, message: str
) -> None:
    config = trainable_work(tmp_path)
    config.distill.students = {name: student}
    with pytest.raises(AsrKdError, match=message):
        distill.run(config, tmp_path)
