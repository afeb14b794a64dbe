"""Where a report comes from: versions, settings, inputs, command, durations."""

import json
import platform
import shlex
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from asr_kd import __version__
from asr_kd.artifacts import finished
from asr_kd.config import Config
from asr_kd.config.stages import stage_settings
from asr_kd.report.results import Results

_PACKAGES = ("numpy", "scipy", "torch", "kaldi-hmm-gmm", "kaldi-decoder", "kaldifst", "jiwer", "kaldialign")


def provenance(config: Config, work: Path, results: Results) -> dict[str, Any]:
    """Everything needed to say what made a report, and to make it again."""
    seconds = stage_seconds(work / "stages.jsonl", config)
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": sum(seconds.values()),
        "stage_seconds": seconds,
        "versions": {"asr_kd": __version__, "python": platform.python_version(), **_versions()},
        "settings": asdict(config),
        "fingerprints": _fingerprints(work, results),
    }


def stage_seconds(path: Path, config: Config) -> dict[str, float]:
    """How long each stage worked with today's settings, by the lines of ``stages.jsonl``.

    A stage that was interrupted worked in several runs, and one that was up to date took a moment: all are
    added up.
    """
    seconds: dict[str, float] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if entry.get("settings") == json.loads(json.dumps(stage_settings(config, entry["stage"]))):
                seconds[entry["stage"]] = seconds.get(entry["stage"], 0.0) + entry["seconds"]
    return seconds


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _fingerprints(work: Path, results: Results) -> dict[str, str]:
    """The digest of every artefact that the report rests on, by its path below `work`.

    Only those of today's recipe: further members or students of an earlier one are no part.
    """
    entries = [entry for decoded in results.decoded.values() for entry in decoded]
    folders = [
        work / "data",
        work / "features",
        work / "align" / "labels",
        *(work / "align" / f"graph-{lm}" for lm in results.decoded),
        *dict.fromkeys(model for entry in entries for model in entry.system.models),
        *(entry.artifact.path for entry in entries),
    ]
    if results.of_kind("student"):
        folders.append(work / "distill" / "targets")
    if results.bench:
        folders += [work / "bench", work / "bench-deployed"]
    found = [artifact for folder in folders for artifact in finished(folder)]
    return {artifact.path.relative_to(work).as_posix(): artifact.digest for artifact in found}
