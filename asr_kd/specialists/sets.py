"""The sets of a recipe's specialists on disk, and the files of a specialist."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from asr_kd.errors import AsrKdError

SETS_FILE = "sets.json"
SPECIALIST_FILE = "specialist.json"


@dataclass(frozen=True)
class SpecialistSets:
    """Which senones each specialist knows.

    Attributes:
        sets: ascending senones, one a specialist.
        senones: of the recipe.
    """

    sets: tuple[tuple[int, ...], ...]
    senones: int

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]], senones: int) -> "SpecialistSets":
        """From lists."""
        return cls(tuple(tuple(one) for one in sets), senones)

    @property
    def covering(self) -> np.ndarray:
        """How many specialists know each senone, ``(senones,)`` int64."""
        members = [senone for one in self.sets for senone in one]
        return np.bincount(np.array(members, np.int64), minlength=self.senones)

    def write(self, folder: Path) -> None:
        """Write ``sets.json``."""
        (folder / SETS_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "SpecialistSets":
        """Read ``sets.json`` of `folder`.

        Raises:
            AsrKdError: it is not there.
        """
        path = folder / SETS_FILE
        if not path.is_file():
            raise AsrKdError(f"{path} is not there; run stage train")
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls.of(content["sets"], int(content["senones"]))


@dataclass(frozen=True)
class Specialty:
    """What the outputs of a specialist's network are.

    Attributes:
        classes: ascending senones of its set; its outputs but for the last one, which is the dustbin.
        senones: of the recipe.
        dustbin_shift: to be added to the dustbin's logit, see `training.specialists`.
    """

    classes: tuple[int, ...]
    senones: int
    dustbin_shift: float

    def write(self, folder: Path) -> None:
        """Write ``specialist.json``."""
        (folder / SPECIALIST_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Specialty":
        """Read what `write` wrote.

        Raises:
            AsrKdError: it is not there or damaged.
        """
        path = folder / SPECIALIST_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(content["classes"]), int(content["senones"]), float(content["dustbin_shift"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AsrKdError(f"{path} does not describe a specialist ({error!r}); run stage train") from error
