"""The systems of a recipe: what is decoded, by name, and the models each consists of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asr_kd.config import Config
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
        average: how an ensemble's posteriors are averaged, "arithmetic" or "geometric".
    """

    name: str
    kind: Kind
    models: tuple[Path, ...]
    average: str = "arithmetic"


def recipe_systems(config: Config, work: Path) -> list[System]:
    """All systems of a recipe, in the order of the report; an ensemble only where there are two members.

    Raises:
        AsrKdError: a student has the name of another system.
    """
    members = tuple(member_folders(config, work))
    # Labels and graph of another toolkit come without a model of ours.
    systems = [] if config.align.hclg else [System("gmm", "gmm", (work / "align" / "model",))]
    systems += [System(folder.name, "member", (folder,)) for folder in members]
    if len(members) > 1:
        systems.append(System("ensemble", "ensemble", members, config.distill.average))
    taken = {system.name for system in systems} & set(config.distill.students)
    if taken:
        raise AsrKdError(
            f"distill.students: {min(taken)!r} is the name of another system; choose another name"
        )
    systems += [System(name, "student", (student_folder(work, name),)) for name in config.distill.students]
    return systems
