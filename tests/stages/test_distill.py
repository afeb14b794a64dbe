import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd import artifacts
from asr_kd.config import Config, StudentConfig, TeacherConfig, TransferConfig, ViewConfig
from asr_kd.decoding.systems import recipe_systems
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.distillation.teachers import LoadedTeachers
from asr_kd.distillation.weights import read_weights
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.layout import member_folders
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model, save_model
from asr_kd.stages import distill, train, transfer
from asr_kd.training.metrics import evaluate
from asr_kd.training.objectives import DistillationObjective
from tests.stages.test_train import OPTIMISER, trainable_work
from tests.training.toy import DIMS, SENONES, toy_data
from tests.work_folder import write_features


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
    assert set(store.origin) == {"features", "labels", "member-0", "member-1", "member-2"}
    assert store.settings.temperatures == (2.0, 4.0)
    # Utterances without an alignment have soft targets too.
    assert np.isfinite(store.log_rest).all() and (store.levels > 0).any(1).all()
    assert load_model(tmp_path / "distill" / "student").settings.kind == "dnn"
    assert load_model(tmp_path / "distill" / "soft").settings.kind == "tdnn"

    digests = {name: artifacts.Artifact(tmp_path / "distill" / name).digest for name in ("student", "soft")}
    capsys.readouterr()
    distill.run(with_members, tmp_path)
    said = capsys.readouterr().out
    assert all(f"{name}: up to date" in said for name in ("soft targets of train", "student", "soft"))

    soft.soft_weight = 3.0
    distill.run(with_members, tmp_path)
    changed = {name: artifacts.Artifact(tmp_path / "distill" / name).digest for name in digests}
    assert changed["student"] == digests["student"] and changed["soft"] != digests["soft"]


def losses_on_test(folder: Path) -> np.ndarray:
    """Errors, cross entropy and cross entropy at the tuned temperature, each by frame; ``(3,)``."""
    quality = json.loads((folder / "quality.json").read_text())
    sums = np.sum(list(quality["parts"]["test"]["speakers"].values()), axis=0)
    frames, correct, cross_entropy, calibrated = sums[:4]
    return np.array([frames - correct, cross_entropy, calibrated]) / frames


def test_frames_of_every_system_are_measured(with_members: Config, tmp_path: Path) -> None:
    with_members.precision = "fp32"  # as what it is compared with below
    students = with_members.distill.students
    students["again"] = replace(students["student"], seed=1)
    students["control"] = replace(students["student"], soft_weight=0.0, hard_weight=1.0)
    distill.run(with_members, tmp_path)
    frames = tmp_path / "distill" / "frames"
    rows = {row["name"]: row for row in json.loads((frames / "frames.json").read_text())}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "mean single": "member",
        "ensemble": "ensemble",
        "student": "student",
        "control": "control",
    }
    # Students that differ in their seed alone are one row with a spread.
    assert set(rows["student"]["runs"]) == {"student", "again"}
    assert rows["student"]["test"]["accuracy"]["spread"] > 0
    # Their mean gain and the gap that it closes, from the sums of every system.
    members = ("member-0", "member-1", "member-2")
    losses = {name: losses_on_test(frames / name) for name in (*members, "ensemble", "student", "again")}
    single = np.mean([losses[name] for name in members], axis=0)
    student = np.mean([losses["student"], losses["again"]], axis=0)
    found = rows["student"]["test"]
    for place, (metric, sign) in enumerate({"accuracy": -1, "cross_entropy": 1, "calibrated": 1}.items()):
        assert found["gain"][metric]["value"] == pytest.approx(sign * (student - single)[place])
    # Untrained members: their mean is better in cross entropy, as such means are, and guesses as they do.
    shares = (student - single) / (losses["ensemble"] - single)
    assert found["gap_closed"]["accuracy"] is None
    assert found["gap_closed"]["cross_entropy"]["value"] == pytest.approx(shares[1])
    assert found["gap_closed"]["calibrated"]["value"] == pytest.approx(shares[2])
    # Against the same model measured in another way.
    test = train.open_labelled(tmp_path, "test")
    model = load_model(tmp_path / "distill" / "control")
    measured = evaluate(partial(log_posteriors, model), test)
    found = rows["control"]["test"]
    assert found["accuracy"]["value"] == pytest.approx(measured.accuracy)
    assert found["cross_entropy"]["value"] == pytest.approx(measured.cross_entropy, rel=1e-5)
    assert found["calibrated"]["value"] < 1.1 * found["cross_entropy"]["value"]
    assert sum(found["errors_by_class"].values()) == found["errors"][0]
    assert "| control | 1 |" in (frames / "frames.md").read_text()


def test_log_linear_weights_are_learnt_once_and_used_in_decoding(
    with_members: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_members.distill.average = "log-linear"
    distill.run(with_members, tmp_path)
    weights = read_weights(tmp_path)
    assert len(weights) == 3
    ensemble = next(one for one in recipe_systems(with_members, tmp_path) if one.kind == "ensemble")
    assert (ensemble.average, ensemble.weights) == ("log-linear", weights)
    made = (tmp_path / "distill" / "weights" / "manifest.json").stat().st_mtime_ns
    distill.run(with_members, tmp_path)
    assert (tmp_path / "distill" / "weights" / "manifest.json").stat().st_mtime_ns == made
    assert "soft targets of train: up to date" in capsys.readouterr().out


def test_shape_of_the_rest_is_shared_by_all_parts_and_followed(with_members: Config, tmp_path: Path) -> None:
    with_members.distill.top_k, with_members.distill.tail_rank = 2, 3
    with_members.views["masked"] = ViewConfig(frequency_masks=1, frequency_width=1)
    with_members.distill.students["student"].transfer.views = ["masked"]
    distill.run(with_members, tmp_path)
    first = artifacts.Artifact(tmp_path / "distill" / "student").digest
    folders = [tmp_path / "distill" / name for name in ("tail", "targets", "targets-view-masked")]
    assert len({artifacts.Artifact(folder).sha256("tail_shape.npy") for folder in folders}) == 1
    assert (SoftTargets.open(folders[1]).tail != 0).any()

    objective = distill.student_job(with_members, tmp_path, "student", {}).objective
    assert isinstance(objective, DistillationObjective) and objective.tail_shape is not None
    assert objective.tail_shape.rank == 3

    with_members.distill.tail_rank = 0
    distill.run(with_members, tmp_path)
    assert SoftTargets.open(folders[1]).tail.shape[1] == 0
    assert artifacts.Artifact(tmp_path / "distill" / "student").digest != first


def test_soft_targets_of_a_view_are_of_what_the_student_sees(with_members: Config, tmp_path: Path) -> None:
    with_members.views["masked"] = ViewConfig(frequency_masks=1, frequency_width=3)
    with_members.distill.students["student"].transfer.views = ["masked"]
    distill.run(with_members, tmp_path)
    teachers = LoadedTeachers(distill.make_teachers(with_members, tmp_path).teachers, "cpu")
    store, seen = SoftTargets.open(tmp_path / "distill" / "targets-view-masked"), []
    for part in ("view-masked", "train"):
        features = open_part(tmp_path / "features" / part)
        best = [teachers.mean(features.fbank[span]).argmax(1) for _, span in features.index.spans()]
        seen.append(float((torch.cat(best).numpy() == store.ids[:, 0]).mean()))
    assert seen[0] == 1.0 and seen[1] < 1.0


def test_a_student_learns_from_audio_without_transcripts(
    with_members: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_unlabelled(config: Config, work: Path) -> artifacts.Artifact:
        data = toy_data(utterances=7, seed=9)
        index = replace(data.features.index, ids=tuple(f"{one}~unlabelled" for one in data.features.ids()))
        empty = np.zeros((index.total_frames, 13), np.float32)
        if not (work / "features" / "unlabelled").exists():
            write_features(work, "unlabelled", index, data.features.array, empty)
        return artifacts.Artifact(work / "features" / "unlabelled")

    monkeypatch.setattr(transfer, "make_unlabelled", make_unlabelled)
    with_members.data.unlabelled = "audio"
    found = []
    for setting in ("auto", "never"):
        with_members.distill.students["student"].transfer.unlabelled = setting
        distill.run(with_members, tmp_path)
        student = artifacts.Artifact(tmp_path / "distill" / "student")
        inputs = student.manifest["fingerprint"]["inputs"]
        assert ("targets unlabelled" in inputs) == (setting == "auto")
        found.append(student.digest)
    assert len(SoftTargets.open(tmp_path / "distill" / "targets-unlabelled").index) == 7
    assert found[0] != found[1]


def test_a_teacher_with_senones_of_its_own_needs_a_mapping(with_members: Config, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "member-0"
    with artifacts.create(folder, {"kind": "member"}) as partial_folder:
        save_model(partial_folder, build(with_members.models["small"], DIMS, 7, seed=9))
    with_members.distill.teachers["other"] = TeacherConfig(str(folder))
    with pytest.raises(
        AsrKdError, match=r"knows 7 senones, but the labels have 5.*teachers\.<name>\.senones"
    ):
        distill.run(with_members, tmp_path)
    np.save(tmp_path / "map.npy", np.array([0, 1, 2, 3, 4, 4, 4]))
    with_members.distill.teachers["other"].senones = str(tmp_path / "map.npy")
    distill.run(with_members, tmp_path)
    store = SoftTargets.open(tmp_path / "distill" / "targets")
    assert {"teacher other", "senones of teacher other"} <= set(store.origin)
    ensemble = artifacts.Artifact(tmp_path / "distill" / "frames" / "ensemble")
    before = ensemble.digest
    np.save(tmp_path / "map.npy", np.array([4, 3, 2, 1, 0, 0, 0]))
    distill.run(with_members, tmp_path)
    assert artifacts.Artifact(ensemble.path).digest != before


def test_students_may_begin_with_a_member_of_their_architecture(with_members: Config, tmp_path: Path) -> None:
    still = replace(OPTIMISER, peak_learning_rate=0.0, final_learning_rate=0.0, epochs=1)
    students = with_members.distill.students
    students["student"] = StudentConfig(model="small", initial="member-0", optimiser=still)
    distill.run(with_members, tmp_path)
    weights = (load_model(tmp_path / name).state_dict() for name in ("train/member-0", "distill/student"))
    name = "layers.linear0.weight"
    assert torch.equal(*(state[name] for state in weights))
    students["student"] = replace(students["student"], model="delays")
    with pytest.raises(AsrKdError, match=r"student cannot begin with the weights of .*member-0"):
        distill.run(with_members, tmp_path)


def test_without_students_only_frames_are_measured(with_members: Config, tmp_path: Path) -> None:
    with_members.distill.students = {}
    distill.run(with_members, tmp_path)
    assert [folder.name for folder in (tmp_path / "distill").iterdir()] == ["frames"]
    rows = json.loads((tmp_path / "distill" / "frames" / "frames.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == ["mean single", "ensemble"]
    assert rows[1]["test"]["gain"]["accuracy"]["value"] != 0.0


@pytest.mark.parametrize(
    ("name", "student", "message"),
    [
        ("targets", StudentConfig(), "choose another name"),
        ("other", StudentConfig(model="large"), r"distill\.students\.other\.model asks for model 'large'"),
        ("other", StudentConfig(model="small", temperature=0.0), "temperature=0.0"),
        ("frames", StudentConfig(model="small"), "choose another name"),
        ("gmm", StudentConfig(model="small"), "'gmm' is the name of another system"),
        ("ensemble", StudentConfig(model="small"), "'ensemble' is the name of another system"),
        ("member-0", StudentConfig(model="small"), "'member-0' is the name of another system"),
        ("mean single", StudentConfig(model="small"), "'mean single' is the name of another system"),
        ("other", StudentConfig(model="small", transfer=TransferConfig(fraction=0.0)), "fraction=0.0"),
        ("other", StudentConfig(model="small", transfer=TransferConfig(views=["x"])), "asks for view 'x'"),
        (
            "other",
            StudentConfig(model="small", transfer=TransferConfig(unlabelled="always")),
            "data.unlabelled",
        ),
        (
            "other",
            StudentConfig(model="small", transfer=TransferConfig(unlabelled="true")),
            "give auto, always",
        ),
        ("other", StudentConfig(model="small", soft_weight=0.0, hard_weight=0.0), "one must be positive"),
        ("other", StudentConfig(model="small", teachers="member-9"), "teachers=member-9: choose one of ens"),
    ],
)
def test_students_without_sense_are_refused_before_the_teachers_work(
    tmp_path: Path, name: str, student: StudentConfig, message: str
) -> None:
    config = trainable_work(tmp_path)
    config.distill.students = {name: student}
    with pytest.raises(AsrKdError, match=message):
        distill.run(config, tmp_path)


def test_a_member_alone_may_teach(with_members: Config, tmp_path: Path) -> None:
    alone = StudentConfig(model="small", teachers="member-1", optimiser=replace(OPTIMISER))
    with_members.distill.students = {"alone": alone}
    with_members.precision = "fp32"  # as what it is compared with below
    distill.run(with_members, tmp_path)
    store = SoftTargets.open(tmp_path / "distill" / "targets-member-1")
    assert set(store.origin) == {"features", "labels", "member-1"}
    assert not (tmp_path / "distill" / "targets").exists()  # nobody learns from the ensemble
    features = open_part(tmp_path / "features" / "train")
    for number in (0, 1):
        member = load_model(tmp_path / "train" / f"member-{number}")
        best = [log_posteriors(member, features.fbank[span]).argmax(1) for _, span in features.index.spans()]
        assert (torch.cat(best).numpy() == store.ids[:, 0]).all() == (number == 1)
