"""`asr-kd job FILE` makes what a run makes."""

import shutil
from pathlib import Path

import pytest

from asr_kd import artifacts, cli
from asr_kd.config import Config
from asr_kd.launching.order import Order, read_answer, write_json
from asr_kd.stages import distill, train
from tests.stages.test_train import trainable_work


def order(config: Config, artifact: str) -> Path:
    path = Path(config.work) / ".jobs" / "job.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, Order(config, artifact).to_json(workers=1))
    return path


def test_a_job_by_itself_makes_the_bytes_of_the_run(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    train.run(config, tmp_path)
    for name in ("train/member-0", "train/member-1"):
        folder = tmp_path / name
        before = artifacts.Artifact(folder).manifest
        shutil.rmtree(folder)
        file = order(config, name)
        assert cli.main(["job", str(file)]) == 0
        assert artifacts.Artifact(folder).manifest == before
        assert read_answer(file) == ""


def test_a_job_that_fails_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = trainable_work(tmp_path)
    config.train.optimiser.epochs = 0
    file = order(config, "train/member-0")
    assert cli.main(["job", str(file)]) == 1
    assert read_answer(file) == "member-0: optimiser.epochs=0: give at least 1"
    assert read_answer(file) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train/member-9", "align/labels"])
def test_what_no_job_makes_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["job", str(order(trainable_work(tmp_path), name))]) == 1
    assert "has no job that makes this" in capsys.readouterr().err


def test_every_job_of_a_plan_makes_its_artifact(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    for stage in (train, distill):
        for wanted in stage.plan(config, tmp_path):
            if wanted.job is not None:
                wanted.job().run()
                assert artifacts.find(wanted.path, wanted.made_from()) is not None
