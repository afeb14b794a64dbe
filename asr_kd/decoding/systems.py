"""The systems of a recipe: what is decoded, by name, and the models each consists of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asr_kd.config import Config
from asr_kd.distillation.teachers import teacher_models
from asr_kd.distillation.weights import read_weights
from asr_kd.errors import AsrKdError
from asr_kd.layout import member_folders, student_folder

Kind = Literal["gmm", "member", "ensemble", "student"]


@dataclass(frozen=True)
class System:
    """Something that gives every frame a score for every senone.

    Attributes:
        name: of its folder in ``decode/<lm>/`` and in the report.
        kind: what it is.
        models: the folders of its models; several for an ensemble, else one.
        average: how an ensemble's posteriors are averaged, see `distillation.ensemble.average`.
        weights: of a log-linear average, one a model; else None.
        mappings: the files of the models' senone mappings, None where a model's senones are the recipe's;
            empty: of none.
    """

    name: str
    kind: Kind
    models: tuple[Path, ...]
    average: str = "arithmetic"
    weights: tuple[float, ...] | None = None
    mappings: tuple[Path | None, ...] = ()


def recipe_systems(config: Config, work: Path) -> list[System]:
    """All systems of a recipe, in the order of the report; an ensemble only where there are two teachers.

    Raises:
        AsrKdError: a student has the name of another system.
    """
    members = tuple(member_folders(config, work))
    # Labels and graph of another toolkit come without a model of ours.
    systems = [] if config.align.hclg else [System("gmm", "gmm", (work / "align" / "model",))]
    systems += [System(folder.name, "member", (folder,)) for folder in members]
    models, mappings = teacher_models(config, work)
    if len(models) > 1:
        average = config.distill.average
        weights = read_weights(work) if average == "log-linear" else None
        systems.append(System("ensemble", "ensemble", models, average, weights, mappings))
    taken = {system.name for system in systems} & set(config.distill.students)
    if taken:
        raise AsrKdError(
            f"distill.students: {min(taken)!r} is the name of another system; choose another name"
        )
    systems += [System(name, "student", (student_folder(work, name),)) for name in config.distill.students]
    return systems
