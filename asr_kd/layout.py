"""Where the models of a recipe lie below its folder, for those who make them and those who use them."""

from pathlib import Path

from asr_kd.config import Config


def member_folders(config: Config, work: Path) -> list[Path]:
    """The members of the ensemble, in order."""
    return [work / "train" / f"member-{number}" for number in range(config.train.members)]


def student_folder(work: Path, name: str) -> Path:
    """A student of `distill.students`."""
    return work / "distill" / name
