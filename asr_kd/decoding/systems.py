"""The systems of a recipe: what is decoded, by name, and the models each consists of."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from asr_kd.config import Config
from asr_kd.distillation.teachers import specialist_sets, teacher_models
from asr_kd.distillation.weights import read_weights
from asr_kd.errors import AsrKdError
from asr_kd.layout import generalist_folder, member_folders, student_folder

Kind = Literal["gmm", "member", "ensemble", "student", "pruned", "int8", "specialists"]


@dataclass(frozen=True)
class System:
    """Something that gives every frame a score for every senone.

    Attributes:
        name: of its folder in ``decode/<lm>/`` and in the report.
        kind: what it is.
        models: the folders of its models; several for an ensemble, the generalist and then its specialists
            for these, else one.
        average: how an ensemble's posteriors are averaged, see `distillation.ensemble.average`.
        weights: of a log-linear average, one a model; else None.
        mappings: the files of the models' senone mappings, None where a model's senones are the recipe's;
            empty: of none.
        precision: of its networks' matrix products, see `models.devices.resolve_precision`.
    """

    name: str
    kind: Kind
    models: tuple[Path, ...]
    average: str = "arithmetic"
    weights: tuple[float, ...] | None = None
    mappings: tuple[Path | None, ...] = ()
    precision: str = "fp32"
    top: int = 1  # of specialists, see `distillation.teachers.Teachers`


def recipe_systems(config: Config, work: Path) -> list[System]:
    """All systems of a recipe, in the order of the report; an ensemble only where there are two teachers.

    Raises:
        AsrKdError: two systems have one name.
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
    if config.train.specialists.count:
        folders = (generalist_folder(config, work), *specialist_sets(work))
        systems.append(System("specialists", "specialists", folders, top=config.train.specialists.top))
    systems += [System(name, "student", (student_folder(work, name),)) for name in config.distill.students]
    systems += [System(name, "pruned", (work / "compress" / name,)) for name in config.compress.pruned]
    systems += [System(name, "int8", (work / "compress" / name,)) for name in config.compress.int8]
    systems = [replace(system, precision=config.precision) for system in systems]
    taken = [name for name, count in Counter(system.name for system in systems).items() if count > 1]
    if taken:
        raise AsrKdError(
            f"distill.students, compress: {min(taken)!r} is the name of another system; choose another name"
        )
    return systems


def network_folder(config: Config, work: Path, name: str, setting: str) -> Path:
    """Where the student or pruned network called `name` lies.

    Raises:
        AsrKdError: there is none; names the `setting` that asks for it.
    """
    if name in config.distill.students:
        return student_folder(work, name)
    if name in config.compress.pruned:
        return work / "compress" / name
    known = ", ".join([*config.distill.students, *config.compress.pruned])
    raise AsrKdError(f"{setting}={name}: there is no such student or pruned network; there are {known}")
