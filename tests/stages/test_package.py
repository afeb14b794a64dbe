import json
from pathlib import Path
from typing import Any

import pytest

from asr_kd.artifacts import Artifact
from asr_kd.config import Config
from asr_kd.errors import AsrKdError
from asr_kd.runtime import Recogniser
from asr_kd.stages import package
from asr_kd.stages.package import export_model, measure
from tests.bench.clock import Clock
from tests.report.decodings import write_decodings
from tests.work_folder import make_work


@pytest.fixture
def recipe(tmp_path: Path) -> tuple[Config, Path]:
    work = tmp_path / "work"
    config = make_work(work)
    write_decodings(config, work, {"gmm": 4, "member-0": 3, "member-1": 3, "ensemble": 2, "student": 1})
    return config, work


def test_a_model_folder_recognises_and_an_older_one_is_replaced(
    recipe: tuple[Config, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("measured here, where numeric libraries have as many threads as there are cores")

    monkeypatch.setattr(package, "measure", fail)  # a worker process imports the true one
    config, work = recipe
    to = tmp_path / "model"
    to.mkdir()
    for system in ("member-0", "student"):
        export_model(config, work, system, to)
        card = json.loads((to / "model.json").read_text())
        assert card["name"] == f"tiny: {system}"
        assert card["measured"]["test"]["utterances"] == 8
        assert card["measured"]["test"]["rtf"] > 0
    assert Recogniser(to).sample_rate == 16000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "work"]


def test_nothing_else_is_replaced(
    recipe: tuple[Config, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, work = recipe
    student = Artifact(work / "distill" / "student")
    with pytest.raises(AsrKdError, match="holds something else than an exported model"):
        export_model(config, work, "student", student.path)
    student.verify()
    with pytest.raises(AsrKdError, match="holds something else than an exported model"):
        export_model(config, work, "student", work)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(AsrKdError, match="notes is a file"):
        export_model(config, work, "student", tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsrKdError, match="is the current folder"):
        export_model(config, work, "student", Path())


def test_the_first_recognition_is_not_measured(
    recipe: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, work = recipe
    clock = Clock()

    class Warming:
        """Takes 100 s once, then 1 s."""

        def __init__(self, folder: Path) -> None:
            self.cold = True

        def recognise(self, audio: Any) -> list[Any]:
            clock.now += 100.0 if self.cold else 1.0
            self.cold = False
            return []

    monkeypatch.setattr(package, "perf_counter", clock)
    monkeypatch.setattr(package, "Recogniser", Warming)
    found = measure(work, config, work, "test")
    assert found["rtf"] * found["audio_seconds"] == pytest.approx(8.0, rel=0.05)
