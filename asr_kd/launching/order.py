"""What a job of a batch system is told, and what it answers: small JSON files in the recipe's work folder."""

import json
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asr_kd import disk
from asr_kd.artifacts import replace_file
from asr_kd.config import Config, LauncherConfig
from asr_kd.errors import AsrKdError


@dataclass(frozen=True)
class Order:
    """What `asr-kd job FILE` is to do.

    Attributes:
        config: all settings.
        artifact: what to make, by its place in the work folder; None: run the recipe's stages.
        links: folders whose artefacts are first linked into the work folder, see `sweep`.
    """

    config: Config
    artifact: str | None = None
    links: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config, path: Path) -> "Order":
        """To make the artefact at `path`."""
        return cls(config, path.relative_to(config.work).as_posix())

    def to_json(self, workers: int) -> dict[str, Any]:
        """Plain data; inside of the job, jobs are processes of its machine.

        Args:
            workers: where the settings leave their number open.
        """
        config = replace(self.config, launcher=LauncherConfig(), workers=self.config.workers or workers)
        return {"config": asdict(config), "artifact": self.artifact, "links": list(self.links)}

    @classmethod
    def read(cls, path: Path) -> "Order":
        """What `to_json` gave.

        Raises:
            AsrKdError: the file is no such thing.
        """
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), content["config"]))
            assert isinstance(config, Config)
            return cls(config, content["artifact"], tuple(content["links"]))
        except (OSError, ValueError, KeyError, TypeError, OmegaConfBaseException) as error:
            raise AsrKdError(f"{path} is no job that can be read ({error}); run the recipe again") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A small file, whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def answer_file(order: Path) -> Path:
    """Where a job says how it ended."""
    return order.with_suffix(".answer")


def answer(order: Path, failure: str) -> None:
    """Say that a job is through, and why it failed if it did."""
    write_json(answer_file(order), {"failure": failure})


def read_answer(order: Path) -> str | None:
    """Why a job failed, empty if it did not; None as long as it has not said."""
    try:
        return str(json.loads(answer_file(order).read_text(encoding="utf-8"))["failure"])
    except FileNotFoundError:
        return None


def reason(error: Exception) -> str | None:
    """What to tell a user of an error, or None where it is a defect of ours."""
    if isinstance(error, OSError):
        return disk.advice(error)
    return str(error) if isinstance(error, AsrKdError) else None


def told(error: Exception) -> str:
    """What to tell a user of any error; where a defect is printed in full."""
    why = reason(error)
    if why is None:
        traceback.print_exception(error)
        why = f"{error!r}, see above where"
    return why
