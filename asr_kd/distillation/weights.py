"""Weights of a log-linear average, learnt once and kept as an artefact that decoding reads as well."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.distillation.teachers import Teachers, learn_weights
from asr_kd.jobs import map_processes

WEIGHTS_FILE = "weights.json"


def weights_folder(work: Path) -> Path:
    """Where a recipe's weights lie."""
    return work / "distill" / "weights"


def weights_made_from(work: Path, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The fingerprint; see `make_weights`."""
    return fingerprint("weights", {}, {**inputs, "dev": Artifact(work / "features" / "dev")})


def make_weights(teachers: Teachers, work: Path, inputs: Mapping[str, str], device: str) -> Teachers:
    """The teachers with weights learnt on dev, or found up to date.

    Args:
        teachers: of average "log-linear".
        work: of the recipe.
        inputs: digests of the teachers and of the labels, by role.
        device: where to compute.
    """
    path, made_from = weights_folder(work), weights_made_from(work, inputs)
    if find(path, made_from) is None:
        with create(path, made_from) as folder:
            # In a process of its own, of one thread: the same weights on any machine.
            ((_, learnt),) = map_processes(_learn, [(teachers, work, device)], 1, "weights")
            (folder / WEIGHTS_FILE).write_text(json.dumps(learnt.weights) + "\n", encoding="utf-8")
    return replace(teachers, weights=read_weights(work))


def read_weights(work: Path) -> tuple[float, ...]:
    """The weights of a recipe's teachers, in their order."""
    artifact = Artifact(weights_folder(work))
    artifact.verify()
    return tuple(json.loads((artifact / WEIGHTS_FILE).read_text(encoding="utf-8")))


def _learn(task: tuple[Teachers, Path, str]) -> Teachers:
    teachers, work, device = task
    return learn_weights(teachers, work / "features" / "dev", work / "align" / "labels" / "dev.npy", device)
