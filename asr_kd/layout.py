"""Where things lie below a recipe's folder, for those who make them and those who use them."""

from collections.abc import Iterable
from pathlib import Path

from asr_kd.config import Config
from asr_kd.config.schema import StudentConfig

TRAIN, UNLABELLED = "train", "unlabelled"
VIEW_PREFIX = "view-"  # of the perturbed copies of the training part
TARGETS = "targets"  # of the soft targets of the training part; those of others end in their name
TAIL = "tail"


def member_folders(config: Config, work: Path) -> list[Path]:
    """The members of the ensemble, in order."""
    return [work / "train" / f"member-{number}" for number in range(config.train.members)]


def generalist_folder(config: Config, work: Path) -> Path:
    """The member that the specialists come from."""
    return work / "train" / config.train.specialists.generalist


def sets_folder(work: Path) -> Path:
    """What the specialists know."""
    return work / "train" / "specialist-sets"


def specialist_folder(work: Path, number: int) -> Path:
    """A specialist; there are as many as there are sets."""
    return work / "train" / f"specialist-{number}"


def specialist_targets_folder(work: Path, part: str) -> Path:
    """The generalist's soft targets of a part, that specialists learn the rest from."""
    return work / "train" / f"specialist-targets-{part}"


def student_folder(work: Path, name: str) -> Path:
    """A student of `distill.students`."""
    return work / "distill" / name


def view_folder(work: Path, name: str, original: str = TRAIN) -> Path:
    """The features of a view of `views`: of the training part, or of the audio without transcripts."""
    view = f"{VIEW_PREFIX}{name}"
    return work / "features" / (view if original == TRAIN else f"{original}-{view}")


def targets_folder(work: Path, part: str, teachers: str = "ensemble") -> Path:
    """The soft targets of a part of the transfer sets, by the teachers of `StudentConfig.teachers`."""
    name = TARGETS if teachers == "ensemble" else f"{TARGETS}-{teachers}"
    return work / "distill" / (name if part == TRAIN else f"{name}-{part}")


def tail_folder(work: Path, teachers: str = "ensemble") -> Path:
    """The shape that the rest has in all soft targets of these teachers."""
    return work / "distill" / (TAIL if teachers == "ensemble" else f"{TAIL}-{teachers}")


def transfer_folders(work: Path, views: Iterable[str], unlabelled: bool = False) -> list[Path]:
    """The features of a transfer set, those of the training part first."""
    originals = (TRAIN, UNLABELLED) if unlabelled else (TRAIN,)
    names = list(views)
    return [
        folder
        for original in originals
        for folder in (work / "features" / original, *(view_folder(work, one, original) for one in names))
    ]


def learns_unlabelled(config: Config, student: StudentConfig) -> bool:
    """Whether a student is trained on `data.unlabelled` as well."""
    transfer = student.transfer
    if transfer.unlabelled != "auto":
        return transfer.unlabelled == "always"
    # Where some of the training part is left out, what the rest teaches is the question.
    whole = transfer.fraction == 1.0 and not transfer.labels and not transfer.without_labels
    return config.data.unlabelled is not None and student.soft_weight > 0 and whole


def all_transfer_folders(config: Config, work: Path) -> list[Path]:
    """The features that members and students are trained on, each once, those of the training part first."""
    folders = transfer_folders(work, config.train.views)
    for student in config.distill.students.values():
        folders += transfer_folders(work, student.transfer.views, learns_unlabelled(config, student))
    return list(dict.fromkeys(folders))
