"""The command line: settings checked, errors named, exit statuses right."""

import errno
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from asr_kd import cli, memory, pipeline
from asr_kd.config import LmConfig, OptimiserConfig, StudentConfig
from asr_kd.config.stages import stage_settings
from asr_kd.errors import AsrKdError

RECIPES = sorted(path.parent.name for path in (Path(__file__).parents[1] / "recipes").glob("*/recipe.yaml"))

WRONG_NAMES = ("membres", "nonsense", "members", "temprature", "ordre")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_loads_and_builds_its_models(recipe: str) -> None:
    from asr_kd import models

    config = cli.load([f"recipe={recipe}"])
    assert config.recipe == recipe
    assert config.work == f"exp/{recipe}"
    assert (cli.recipe_folder(recipe) / "README.md").is_file(), f"recipes/{recipe} needs a README.md"
    used = {*config.train.models, *(student.model for student in config.distill.students.values())}
    for name in used:
        models.build(config.models[name], input_dims=config.features.mel_bins, senones=10)


def test_settings_are_overridden() -> None:
    config = cli.load(["recipe=mini", "train.members=2", "data.parts.train=a+b", "data.source=/x"])
    assert (config.train.members, config.data.parts.train, config.data.source) == (2, "a+b", "/x")


@pytest.mark.parametrize(
    "settings",
    [
        ["+distill.students.hot.temperature=8", "distill.students.hot.optimiser.epochs=1"],
        ["+distill.students.hot={temperature: 8, optimiser: {epochs: 1}}"],
        ["++distill.students.hot.temperature=8", "+distill.students.hot.optimiser.epochs=1"],
        ["+distill.students={hot: {temperature: 8, optimiser: {epochs: 1}}}"],
    ],
)
def test_a_plus_adds_a_student(settings: list[str]) -> None:
    students = cli.load(["recipe=mini", *settings]).distill.students
    assert students["hot"] == StudentConfig(temperature=8.0, optimiser=OptimiserConfig(epochs=1))
    assert students["student"] == cli.load(["recipe=mini"]).distill.students["student"]


def test_a_plus_adds_language_models_and_models() -> None:
    config = cli.load(
        ["recipe=mini", "+lms.trigram.order=3", "+models.paper={preset: hinton2015}", "+models.wide.kind=dnn"]
    )
    assert config.lms == {"bigram": LmConfig(order=2), "trigram": LmConfig(order=3)}
    assert (config.models["paper"], config.models["wide"]) == ({"preset": "hinton2015"}, {"kind": "dnn"})
    assert cli.load(["recipe=an4", "~lms.ug"]).lms == {"bigram": LmConfig(order=2)}


def test_a_plus_leaves_entries_that_are_there_as_they_are() -> None:
    given = ["+distill.students.student.temperature=8", "+models.member.dropout=0.5"]
    config = cli.load(["recipe=mini", *given])
    assert config.distill.students["student"].optimiser.threads == 2
    assert config.models["member"]["dropout"] == 0.5 and config.models["member"]["hidden_units"] == 256


def test_seeds_of_a_student_are_students_that_differ_in_nothing_else() -> None:
    students = cli.load(["recipe=an4", "distill.students.student.seeds=3", "distill.students.student.seed=4"])
    by_name = students.distill.students
    assert list(by_name) == ["student", "student-1", "student-2"]
    assert [one.seed for one in by_name.values()] == [4, 5, 6]
    assert all(replace(one, seed=4) == by_name["student"] for one in by_name.values())
    assert by_name["student"].transfer.views  # the recipe's, not those of a new student
    # Written out: what an earlier version noted of the same students is not another setting.
    noted = stage_settings(students, "distill")["distill"]["students"]
    assert noted.keys() == by_name.keys() and all("seeds" not in one for one in noted.values())


@pytest.mark.parametrize(
    "settings",
    [
        ["distill.students.student.seeds=0"],
        ["distill.students.student.seeds=2", "+distill.students.student-1={}"],
    ],
)
def test_seeds_that_cannot_be_are_refused(settings: list[str]) -> None:
    with pytest.raises(AsrKdError, match=r"distill\.students\.student\.seeds=[02]"):
        cli.load(["recipe=an4", *settings])


def test_a_new_entry_without_a_plus_is_refused_with_advice() -> None:
    with pytest.raises(AsrKdError, match=r"'hot'.*a \+ in front adds a student"):
        cli.load(["recipe=mini", "distill.students.hot.temperature=8"])


@pytest.mark.parametrize(
    "setting",
    [
        "train.membres=2",
        "nonsense=1",
        "train.members=two",
        "+train.membres=2",
        "++nonsense=1",
        "+distill.students.hot.temprature=8",
        "+distill.students.student.temprature=8",
        "+lms.trigram={ordre: 3}",
    ],
)
def test_wrong_settings_are_refused_by_name(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", "recipe=mini", setting]) == 1
    message = capsys.readouterr().err
    assert any(name in setting and name in message for name in WRONG_NAMES)
    assert "Traceback" not in message


@pytest.mark.parametrize("setting", ["foo", "data.source=/data/a=b", "data.parts.train=[a"])
def test_what_is_no_setting_is_refused_with_advice(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings", setting]) == 1
    assert "name=value" in capsys.readouterr().err
    assert cli.load(['data.source="/data/a=b"']).data.source == "/data/a=b"


def test_full_disk_is_no_defect_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/exp")

    monkeypatch.setitem(cli.VERBS, "run", full)
    assert cli.main(["run"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("asr-kd: /data/exp: No space left on device; make room")
    assert message.count("\n") == 1


def test_an_error_of_files_that_users_cannot_mend_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(settings: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/exp")

    monkeypatch.setitem(cli.VERBS, "run", defect)
    with pytest.raises(FileNotFoundError):
        cli.main(["run"])


def test_a_work_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AsrKdError, match=r"work=.*file: the folder cannot be made"):
        pipeline.run(cli.load(["recipe=mini", f"work={tmp_path / 'file'}"]))


def test_unknown_recipe_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "recipe=nothing"]) == 1
    assert "mini" in capsys.readouterr().err


def test_recipe_can_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "defaults: [base, _self_]\nrecipe: own\ndata: {corpus: kaldi_dir}\n"
    )
    assert cli.load([f"recipe={tmp_path}"]).data.corpus == "kaldi_dir"


def test_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 1
    assert "trian" in capsys.readouterr().err


def test_stages_by_number_and_name() -> None:
    assert pipeline.find_stage("3", "stage") is pipeline.find_stage("train", "stage")
    with pytest.raises(AsrKdError, match="stop_stage=12"):
        pipeline.find_stage("12", "stop_stage")


def test_stages_run_in_order_between_first_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(pipeline.Stage, "run", lambda stage, config, work: ran.append(stage.name))
    pipeline.run(cli.load(["recipe=mini", f"work={tmp_path}", "stage=1", "stop_stage=distill"]))
    assert ran == ["features", "align", "train", "distill"]
    assert (tmp_path / "stages.jsonl").read_text().count("\n") == 4


def test_a_stage_says_what_it_took_and_whether_that_was_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets: list[memory.Budget] = []
    monkeypatch.setattr(pipeline.Stage, "run", lambda stage, config, work: budgets.append(memory.budget()))
    settings = ["recipe=mini", f"work={tmp_path}", "stage=train", "stop_stage=train", "memory_budget=1 MB"]
    pipeline.run(cli.load(settings))
    assert budgets == [memory.Budget(1_000_000, given=True)]
    said = capsys.readouterr().out
    assert "MB of memory" in said and "more than memory_budget=1 MB" in said
    (line,) = (tmp_path / "stages.jsonl").read_text().splitlines()
    assert json.loads(line)["memory_megabytes"] > 1


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")],
)
def test_a_shortage_of_memory_names_what_to_lower(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def short(settings: object) -> None:
        raise error

    monkeypatch.setitem(cli.VERBS, "run", short)
    assert cli.main(["run"]) == 1
    assert "out of memory; lower `workers` or `memory_budget`" in capsys.readouterr().err


def test_stop_before_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="stop_stage=data"):
        pipeline.run(cli.load(["recipe=mini", f"work={tmp_path}", "stage=train", "stop_stage=data"]))


def test_defect_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cli.VERBS, "run", defect)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run"])


def test_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, "run", interrupted)
    assert cli.main(["run"]) == 130
    assert "goes on" in capsys.readouterr().err


def test_termination_is_an_interruption_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(cli.VERBS, "run", lambda settings: signal.raise_signal(signal.SIGTERM))
    assert cli.main(["run"]) == 143
    assert "terminated; the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    "content",
    [b"a: [1\n", b"a: 'b\n", b"name: caf\xe9\n", b"\0", b"a: " + b"[" * 5000, b"a: &b [*b]\n", b"- 1\n"],
)
def test_a_recipe_that_is_no_yaml_is_named(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    assert cli.main(["settings", f"recipe={tmp_path}"]) == 1
    message = capsys.readouterr().err
    assert "recipe.yaml" in message and message.count("\n") == 1
