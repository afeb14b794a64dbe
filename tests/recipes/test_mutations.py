"""Nothing is reused silently: every kind of file damaged, every kind of input and every setting changed."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from asr_kd import artifacts, cli
from asr_kd.errors import AsrKdError
from asr_kd.pipeline import SETTINGS_FILE, STAGES
from asr_kd.planning import looking
from asr_kd.status import states
from tests.small_mini import content, damage, work_of

pytestmark = pytest.mark.recipe

# Settings that decide how a run is carried out or what is shown first, and nothing that is stored.
CARRYING_OUT = (
    "recipe", "work", "stage", "stop_stage", "workers", "memory_budget", "preflight", "device", "decode.lm",
    "data.downloads",
    "train.optimiser.checkpoint_seconds", "distill.students.student.optimiser.checkpoint_seconds",
    "compress.pruned.half.optimiser.checkpoint_seconds",
    *(f"{stage}.optimiser.{name}" for name in ("processes", "compile")
      for stage in ("train", "distill.students.student", "compress.pruned.half")),
    "launcher.kind", "train.stacked",
)  # fmt: skip
# Settings of what recipe `mini` does not do: changing them alone changes nothing.
IDLE = ("align.realign.model", "align.realign.optimiser.", "train.specialists.")
# Where one more, half as much again or the opposite would mean nothing.
OTHERS = {
    "data.source": "/nowhere", "data.lexicon": "/nowhere", "data.lm_text": "/nowhere",
    "data.unlabelled": "/nowhere", "data.parts.dev": "dev", "align.labels": "/nowhere",
    "align.hclg": "/nowhere", "lms.bigram.arpa": "/nowhere", "precision": "fp32",
    "distill.students.student.initial": "member-0", "distill.students.student.transfer.fraction": 0.5,
    "distill.students.student.transfer.views": "[none]",
    "distill.students.student.transfer.labels": "[1]",
    "distill.students.student.transfer.without_labels": "[1]", "train.views": "[none]",
    "distill.temperatures": "[3.0]", "bench.systems": "[student]", "train.specialists.count": 1,
    "train.models": "[student]",
}  # fmt: skip


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its value, by dotted name."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def another(name: str, value: Any) -> Any:
    """Another value of a setting, as one gives it on the command line."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 1.5 * value if value else 0.5
    if isinstance(value, list):
        return str([*value, another("", value[0])])
    assert isinstance(value, str), f"{name}={value}: give another value in OTHERS"
    return "other"


def test_every_setting_that_is_changed_is_noticed(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    work, outcomes, silent = work_of(mini), Counter[str](), []
    names = [name for name, _ in leaves(cli.load(mini)) if name not in CARRYING_OUT]
    values = dict(leaves(cli.load(mini)))
    for name in names:
        try:
            config = cli.load([*mini, f"{name}={another(name, values[name])}"])
            found = {state.condition for state in states(config, work)} - {"done"}
        except AsrKdError:
            found = {"refused"}
        outcomes["refused" if "refused" in found else "stale" if found else "idle"] += 1
        if not found and not name.startswith(IDLE):
            silent.append(name)
    with capsys.disabled():
        print(f"\n{len(names)} settings changed: {dict(outcomes)}; {len(silent)} silent acceptances")
    assert not silent


def _run(settings: list[str], stage: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = cli.main(["run", *settings, f"stage={stage}", f"stop_stage={stage}"])
    return status, capsys.readouterr().err


def test_damage_to_every_kind_of_file_is_refused_by_name(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    work, seen, silent = work_of(mini), set[tuple[str, str]](), []
    runs = 0
    for artifact in artifacts.finished(work):
        kind = artifact.manifest["fingerprint"]["kind"]
        stage = artifact.path.relative_to(work).parts[0].removesuffix("-deployed")
        for file in sorted(artifact.path.iterdir()):
            if stage == "report" or (kind, file.name) in seen:
                continue
            seen.add((kind, file.name))
            later = [one.name for one in STAGES if one.number > _number(stage)][:1]
            with damage(file, seed=len(seen)):
                # The stage that made it, and one that goes on from there.
                for running in (stage, *later):
                    status, message = _run(mini, running, capsys)
                    runs += 1
                    if status != 1 or file.name not in message:
                        silent.append((str(file), running, status, message))
    with capsys.disabled():
        kinds = len({kind for kind, _ in seen})
        print(
            f"\n{len(seen)} files of {kinds} kinds of artefacts damaged, {runs} runs: {len(silent)} silent "
            "acceptances"
        )
    assert not silent


def _number(stage: str) -> int:
    return next(one.number for one in STAGES if one.name == stage)


@pytest.mark.parametrize("name", [SETTINGS_FILE, ".audio-digests.json", "stages.jsonl"])
def test_damage_to_what_lies_beside_artefacts_changes_no_result(
    mini: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    work = work_of(mini)
    whole = content(work)
    for seed in range(10):
        with damage(work / name, seed):
            for stage in ("data", "decode"):
                status, message = _run(mini, stage, capsys)
                assert status == 0 or SETTINGS_FILE in message or "with other settings" in message
        assert content(work) == whole


def _fingerprint(settings: list[str], artefact: str) -> Any:
    config = cli.load(settings)
    work = Path(config.work)
    with looking():
        for stage in STAGES:
            for wanted in stage.plan(config, work):
                if wanted.path == work / artefact:
                    return json.loads(json.dumps(wanted.made_from()))
    raise AssertionError(artefact)


def _lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _lexicon(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    path = folder / "lexicon.txt"
    shutil.copy(work_of(mini) / "data" / "lexicon.txt", path)
    return "data", path, [f"data.lexicon={path}"]


def _text(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    path = _lines(folder / "text.txt", "CALL PETER", "STOP")
    return "data", path, [f"data.lm_text={path}"]


def _arpa(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    path = folder / "own.arpa"
    shutil.copy(work_of(mini) / "align" / "graph-bigram" / "G.arpa", path)
    return "data", path, [f"lms.bigram.arpa={path}"]


def _labels(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    assert cli.main(["export-labels", *mini, f"to={folder}"]) == 0
    return "align/labels", folder / "dev.txt", [f"align.labels={folder}"]


def _teacher(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    shutil.copytree(work_of(mini) / "train" / "member-0", folder / "teacher")
    manifest = folder / "teacher" / "manifest.json"
    return "distill/tail", manifest, [f"+distill.teachers.other.model={folder / 'teacher'}"]


def _audio(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    return _kaldi(mini, folder, "")


def _transcripts(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    return _kaldi(mini, folder, "train/text")


def _speakers(mini: list[str], folder: Path) -> tuple[str, Path, list[str]]:
    return _kaldi(mini, folder, "train/utt2spk")


def _kaldi(mini: list[str], folder: Path, name: str) -> tuple[str, Path, list[str]]:
    """The corpus as Kaldi data directories, with one audio file of our own."""
    assert cli.main(["export-data", *mini, f"to={folder}"]) == 0
    scp = folder / "train" / "wav.scp"
    first, *rest = scp.read_text().splitlines()
    recording, _, audio = first.partition(" ")
    shutil.copy(audio, folder / "own.flac")
    _lines(scp, f"{recording} {folder / 'own.flac'}", *rest)
    settings = ["recipe=kaldi_dir", f"data.source={folder}", f"work={folder / 'exp'}"]
    settings += ["data.parts.train=train", "data.parts.dev=dev", "data.parts.test=test"]
    return "data", folder / name if name else folder / "own.flac", settings


INPUTS = (_lexicon, _text, _arpa, _labels, _teacher, _audio, _transcripts, _speakers)


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__.removeprefix("_"))
def test_every_kind_of_input_that_is_changed_is_noticed(
    mini: list[str], tmp_path: Path, make: Callable[[list[str], Path], tuple[str, Path, list[str]]]
) -> None:
    (tmp_path / "own").mkdir()
    artefact, file, settings = make(mini, tmp_path / "own")
    settings = settings if settings[0].startswith("recipe=") else [*mini, *settings]
    before = _fingerprint(settings, artefact)
    for seed in range(5):
        with damage(file, seed):
            try:
                assert _fingerprint(settings, artefact) != before
            except (AsrKdError, UnicodeDecodeError) as error:
                assert isinstance(error, AsrKdError), f"{file}: {error}"
                assert file.name in str(error)
    assert _fingerprint(settings, artefact) == before
