"""Where a report comes from: versions, settings, inputs, command, durations."""

import hashlib
import json
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import asr_kd
from asr_kd import __version__, history
from asr_kd.artifacts import finished
from asr_kd.config import Config
from asr_kd.config.stages import STAGES, stage_settings
from asr_kd.distillation.weights import weights_folder
from asr_kd.layout import all_transfer_folders, sets_folder, targets_folder
from asr_kd.report.results import Results

_SOURCES = (".py", ".json", ".html", ".css", ".js")
_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "kaldi-hmm-gmm",
    "kaldi-decoder",
    "kaldifst",
    "jiwer",
    "kaldialign",
    "librosa",
    "matplotlib",
)


def provenance(config: Config, work: Path, results: Results) -> dict[str, Any]:
    """Everything needed to say what made a report, and to make it again."""
    seconds = stage_seconds(work, config)
    return {
        "command": command(sys.argv),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": sum(seconds.values()),
        "stage_seconds": seconds,
        "code": code_digest(Path(asr_kd.__file__).parent),
        "versions": {"asr_kd": __version__, "python": platform.python_version(), **_versions()},
        "settings": asdict(config),
        "fingerprints": _fingerprints(config, work, results),
    }


def command(arguments: Sequence[str]) -> str:
    """What to type for these arguments of a process."""
    program = Path(arguments[0])
    # `python -m` puts the file that it runs in the first place.
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else shlex.quote(program.name)
    return " ".join([name, *map(shlex.quote, arguments[1:])])


def code_digest(package: Path) -> str:
    """The first 12 hex digits of a SHA-256 of all source files of a package, with their paths.

    A version stays the same while code changes; this does not.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*"), key=lambda path: path.relative_to(package).as_posix()):
        if path.is_file() and path.suffix in _SOURCES:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def stage_seconds(work: Path, config: Config) -> dict[str, float]:
    """How long each stage took with today's settings, in their order: the longest of its runs in `work`.

    Not their sum: a run that finds the stage up to date takes a moment, and one that makes everything again,
    because what it reads has changed, replaces the work of those before it. A run that was interrupted is not
    in the history, so its time is not counted.
    """
    settings = {stage: json.loads(json.dumps(stage_settings(config, stage))) for stage in STAGES}
    seconds: dict[str, float] = {}
    for run in history.read(work):
        # Earlier versions may have had other stages.
        if run.stage in settings and run.settings == settings[run.stage]:
            seconds[run.stage] = max(seconds.get(run.stage, 0.0), run.seconds)
    return {stage: seconds[stage] for stage in STAGES if stage in seconds}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _fingerprints(config: Config, work: Path, results: Results) -> dict[str, str]:
    """The digest of every artefact that the report rests on, by its path: below `work`, else as given.

    Only those of today's recipe: further members or students of an earlier one are no part.
    """
    entries = [entry for decoded in results.decoded.values() for entry in decoded]
    transferred = all_transfer_folders(config, work)
    folders = [
        work / "data",
        # One by one: each may be a link (see `sweep`), and those below a folder are not followed.
        *transferred,
        *(work / "features" / part for part in ("dev", "test")),
        work / "align" / "labels",
        *(work / "align" / f"graph-{lm}" for lm in results.decoded),
        *dict.fromkeys(model for entry in entries for model in entry.system.models),
        *(entry.artifact.path for entry in entries),
    ]
    if results.of_kind("student"):
        kinds = dict.fromkeys(student.teachers for student in config.distill.students.values())
        folders += [targets_folder(work, part.name, teachers) for teachers in kinds for part in transferred]
    if config.distill.average == "log-linear":
        folders.append(weights_folder(work))
    if results.of_kind("specialists"):
        folders.append(sets_folder(work))
    if results.bench:
        folders += [work / "bench", work / "bench-deployed"]
    found = [artifact for folder in folders for artifact in finished(folder)]
    return {_name(artifact.path, work): artifact.digest for artifact in found}


def _name(path: Path, work: Path) -> str:
    """Teachers may lie anywhere."""
    return (path.relative_to(work) if path.is_relative_to(work) else path).as_posix()
