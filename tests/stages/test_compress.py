import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr_kd import artifacts
from asr_kd.artifacts import Artifact
from asr_kd.compression.fine_tuning import CompressionJob
from asr_kd.config import Config, PruneConfig, QuantiseConfig
from asr_kd.decoding.acoustic import load_scorer
from asr_kd.decoding.systems import recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.layout import member_folders
from asr_kd.models import build
from asr_kd.models.storage import load_model, save_model
from asr_kd.stages import compress
from asr_kd.training.objectives import DistillationObjective
from tests.stages.test_train import OPTIMISER, trainable_work
from tests.training.toy import DIMS, SENONES
from tests.work_folder import make_work


def small(work: Path) -> Config:
    config = make_work(work)
    config.workers = 1
    for name, method in (("thin", "low_rank"), ("sparse", "magnitude")):
        pruned = PruneConfig(method=method, keep=0.6, rounds=2, targets="hard")
        pruned.optimiser.epochs, pruned.optimiser.batch_frames = 1, 50
        config.compress.pruned[name] = pruned
    config.compress.int8 = {"thin_int8": QuantiseConfig("thin")}
    return config


def test_every_network_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small(tmp_path)
    compress.run(config, tmp_path)
    summary = json.loads((tmp_path / "compress/thin/compression.json").read_text())
    assert summary["multiply_adds"] <= 0.6 * summary["multiply_adds_before"]
    sparse = load_model(tmp_path / "compress/sparse")
    matrices = torch.cat([one.weight.flatten() for one in sparse.modules() if hasattr(one, "out_features")])
    assert int((matrices != 0).sum()) == round(0.6 * len(matrices))
    agreement = json.loads((tmp_path / "compress/thin_int8/export.json").read_text())
    assert agreement["float32"]["same_best"] == 1.0
    systems = {system.name: system for system in recipe_systems(config, tmp_path)}
    assert {name: systems[name].kind for name in ("thin", "sparse", "thin_int8")} == {
        "thin": "pruned", "sparse": "pruned", "thin_int8": "int8",
    }  # fmt: skip
    scorer = load_scorer(systems["thin_int8"], tmp_path / "align" / "labels", "cpu")
    assert scorer.parameter_count == load_model(tmp_path / "compress/thin").parameter_count
    digests = {name: Artifact(tmp_path / "compress" / name).digest for name in ("thin", "sparse")}
    capsys.readouterr()
    compress.run(config, tmp_path)
    assert capsys.readouterr().out.count("up to date") == 3
    assert digests == {name: Artifact(tmp_path / "compress" / name).digest for name in digests}


def test_soft_targets_and_all_that_the_student_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trainable_work(tmp_path)
    config.distill.students["student"].early_stopping = False
    for seed, folder in enumerate([*member_folders(config, tmp_path), tmp_path / "distill" / "student"]):
        with artifacts.create(folder, {"kind": "model", "seed": seed}) as partial:
            save_model(partial, build(config.models["small"], DIMS, SENONES, seed=seed))
    pruned = PruneConfig(keep=0.75, rounds=1)
    pruned.optimiser = replace(OPTIMISER, epochs=1, label_smoothing=0.125)
    config.compress.pruned["small"] = pruned
    jobs: list[CompressionJob] = []
    monkeypatch.setattr(compress, "run_missing", lambda found, launcher, name: jobs.extend(found))
    compress.run(config, tmp_path)
    (job,) = jobs
    assert isinstance(job.objective, DistillationObjective) and job.objective.tail_shape is not None
    assert job.objective.settings() == DistillationObjective(2.0, 1.0, 0.5, 0.125, stored_at=2.0).settings()
    assert not job.early_stopping
    job.run()
    summary = json.loads((tmp_path / "compress/small/compression.json").read_text())
    assert summary["method"] == "structured"
    assert 0.65 < summary["multiply_adds"] / summary["multiply_adds_before"] <= 0.75


def test_settings_that_mean_nothing_are_named(tmp_path: Path) -> None:
    config = small(tmp_path)
    config.compress.int8["thin_int8"].method = "int4"
    with pytest.raises(AsrKdError, match="choose dynamic or static"):
        compress.run(config, tmp_path)
    config.compress.int8 = {"tiny": QuantiseConfig("pupil")}
    with pytest.raises(AsrKdError, match=r"compress.int8.tiny.network=pupil: .* there are student, thin"):
        compress.run(config, tmp_path)
    assert not (tmp_path / "compress").exists()  # nothing was pruned for what is refused
    config.compress.pruned["thin"].keep = 1.0
    with pytest.raises(AsrKdError, match=r"compress.pruned.thin: keep a share"):
        compress.run(config, tmp_path)
    config.compress.pruned = {"thin": PruneConfig(student="teacher")}
    with pytest.raises(AsrKdError, match=r"compress.pruned.thin.student=teacher"):
        compress.run(config, tmp_path)
    config.compress.pruned = {}
    config.compress.int8 = {"student": QuantiseConfig()}
    with pytest.raises(AsrKdError, match="'student' is the name of another system"):
        recipe_systems(config, tmp_path)
