import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr_kd import artifacts
from asr_kd.config import Config, LmConfig, SpecialistsConfig, StudentConfig
from asr_kd.decoding.acoustic import NetworkScorer
from asr_kd.decoding.systems import recipe_systems
from asr_kd.distillation.quality import PartQuality, Tuned, _add_covered
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.distillation.teachers import LoadedTeachers, specialist_teachers
from asr_kd.errors import AsrKdError
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.specialists.inference import combine_plain
from asr_kd.specialists.sets import SpecialistSets
from asr_kd.specialists.teacher import LoadedSpecialists
from asr_kd.stages import decode, distill, train
from tests.stages.test_train import OPTIMISER, trainable_work
from tests.training.toy import SENONES


def specialist_work(work: Path) -> Config:
    config = trainable_work(work)
    config.precision = "fp32"
    config.train.members = 2
    config.train.optimiser = replace(OPTIMISER, epochs=1)
    config.train.specialists = SpecialistsConfig(
        count=2, size=2, top=2, soft_rest=0.5, share=1.0, optimiser=replace(OPTIMISER, epochs=1)
    )
    student = StudentConfig(model="small", optimiser=replace(OPTIMISER, epochs=1))
    config.distill.students = {"student": student, "special": replace(student, teachers="specialists")}
    return config


def test_specialists_are_trained_teach_and_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = specialist_work(tmp_path)
    train.run(config, tmp_path)
    sets = SpecialistSets.read(tmp_path / "train" / "specialist-sets")
    assert all(len(one) == 2 for one in sets.sets) and 1 <= len(sets.sets) <= 2
    files = {file.name for file in (tmp_path / "train" / "specialist-sets").iterdir()}
    assert files == {"sets.json", "sets.md", "sets.png", "manifest.json"}
    capsys.readouterr()
    train.run(config, tmp_path)
    said = capsys.readouterr().out
    assert all(f"{name}: up to date" in said for name in ("member-0", "specialist-sets", "specialist-0"))

    distill.run(config, tmp_path)
    # The teacher is the slow form of inference, on the networks themselves.
    part = train.open_labelled(tmp_path, "test")
    frames = part.features.of(part.utterances[0])
    teachers = specialist_teachers(config, tmp_path, SENONES)
    found = LoadedTeachers(teachers, "cpu").mean(frames)
    log_p = log_posteriors(load_model(tmp_path / "train" / "member-0"), frames)
    loaded = LoadedSpecialists(teachers.specialists, SENONES, 2, "cpu")
    wanted = combine_plain(log_p, loaded.opinions(frames, log_p))
    torch.testing.assert_close(found.exp(), wanted.exp(), atol=1e-5, rtol=0)
    # Their soft targets lie apart, and a system decodes what they say.
    store = SoftTargets.open(tmp_path / "distill" / "targets-specialists")
    assert set(store.origin) >= {"member-0", "specialist-0"} and "member-1" not in store.origin
    assert artifacts.Artifact(tmp_path / "distill" / "special").digest
    system = next(one for one in recipe_systems(config, tmp_path) if one.kind == "specialists")
    scorer = NetworkScorer(system, torch.zeros(SENONES).numpy(), "cpu")
    torch.testing.assert_close(scorer.posteriors(frames), found)
    assert scorer.parameter_count > load_model(tmp_path / "train" / "member-0").parameter_count

    report = json.loads((tmp_path / "distill" / "frames" / "specialists.json").read_text())
    assert set(report["systems"]) == {"member-0", "member-1", "ensemble", "specialists", "student", "special"}
    rows = {row["name"]: row for row in json.loads((tmp_path / "distill/frames/frames.json").read_text())}
    row = report["systems"]["specialists"]
    assert row["all"]["accuracy"] == pytest.approx(rows["specialists"]["test"]["accuracy"]["value"])
    assert row["covered"]["frames"] == sum(
        one["frames"] for one in report["by_covering"] if one["specialists"] > 0
    )
    change = sum(one["change_in_correct"] for one in report["by_covering"])
    assert change / row["all"]["frames"] == pytest.approx(row["all"]["accuracy_change"]["value"])

    config.train.specialists.count = 0
    del config.distill.students["special"]
    distill.run(config, tmp_path)
    assert not list((tmp_path / "distill" / "frames").glob("specialists.*"))


@pytest.mark.parametrize(
    ("specialists", "message"),
    [
        (SpecialistsConfig(count=2, generalist="member-9"), "there is no such member"),
        (SpecialistsConfig(count=2, share=0.0), r"specialists\.share=0.0"),
        (SpecialistsConfig(count=2, top=0), r"specialists\.top=0"),
    ],
)
def test_settings_without_sense_are_refused(
    tmp_path: Path, specialists: SpecialistsConfig, message: str
) -> None:
    config = specialist_work(tmp_path)
    config.train.members, config.train.models = 1, ["small"]
    config.train.specialists = specialists
    with pytest.raises(AsrKdError, match=message):
        train.run(config, tmp_path)


def test_students_of_unknown_teachers_are_refused(tmp_path: Path) -> None:
    config = specialist_work(tmp_path)
    config.distill.students["special"].teachers = "everybody"
    with pytest.raises(AsrKdError, match=r"special\.teachers=everybody"):
        distill.run(config, tmp_path)
    config.distill.students["special"].teachers = "specialists"
    config.train.specialists.count = 0
    with pytest.raises(AsrKdError, match=r"train\.specialists\.count=0"):
        specialist_teachers(config, tmp_path, SENONES)


def test_specialists_that_a_failed_stage_left_are_refused(tmp_path: Path) -> None:
    config = specialist_work(tmp_path)
    train.run(config, tmp_path)
    path = tmp_path / "train" / "specialist-sets"
    sets = SpecialistSets.read(path)
    SpecialistSets.of([[0, 3], *sets.sets[1:]], SENONES).write(path)
    with pytest.raises(AsrKdError, match="specialist-0 is of another set"):
        specialist_teachers(config, tmp_path, SENONES)
    config.lms = {"bigram": LmConfig(order=2)}
    decodings = {wanted.path.name: wanted for wanted in decode.plan(config, tmp_path)}
    with pytest.raises(AsrKdError, match="specialist-0 is of another set"):
        decodings["specialists"].made_from()
    sets.write(path)
    assert specialist_teachers(config, tmp_path, SENONES).specialists
    config.train.specialists.generalist = "member-1"
    with pytest.raises(AsrKdError, match="specialist-0 comes from another member-1"):
        specialist_teachers(config, tmp_path, SENONES)


def test_specialists_teach_beside_a_log_linear_average(tmp_path: Path) -> None:
    """They are one teacher, and have no weights."""
    config = specialist_work(tmp_path)
    config.distill.average = "log-linear"
    alone = replace(config.distill.students["special"], teachers="member-1")
    config.distill.students = {"special": config.distill.students["special"], "alone": alone}
    train.run(config, tmp_path)
    distill.run(config, tmp_path)
    for name in ("targets-specialists", "targets-member-1"):
        assert SoftTargets.open(tmp_path / "distill" / name).settings.average == "arithmetic"


def test_frames_are_counted_by_who_knows_their_label() -> None:
    """Four senones: two specialists know senone 0, one knows 1, none knows 2 and 3."""
    scores = torch.tensor([[1, 0, 0, 9], [9, 0, 0, 0], [0, 9, 0, 0], [0, 8, 0, 9], [0, 0, 9, 0]]).float()
    labels = torch.tensor([0, 0, 0, 1, 2])
    quality = PartQuality()
    _add_covered(quality, "s", Tuned(1.0), (scores.log_softmax(1), labels), torch.tensor([2, 1, 0, 0]))
    counted = {
        key: (one.frames, one.correct, one.correct_among_covered) for key, one in quality.covered.items()
    }
    assert counted == {"2/s": (3, 1, 2), "1/s": (1, 0, 1), "0/s": (1, 1, 0)}
