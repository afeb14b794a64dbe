"""One script a corpus: where it comes from, how it becomes utterances.

Each module has ``prepare(config: DataConfig, folder: Path, seed: int, workers: int) -> Corpus``; `folder` is
where it keeps what it downloads or synthesises, `seed` decides what it draws at random, if anything, and
`workers` says how many processes it may use. A corpus of labelled frames has ``frames`` in its place, without
`workers`, which returns `GivenFrames` by part.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import Corpus
from asr_kd.corpus.given_frames import GivenFrames
from asr_kd.errors import AsrKdError

Prepare = Callable[[DataConfig, Path, int, int], Corpus]
Frames = Callable[[DataConfig, Path, int], dict[str, GivenFrames]]


def known() -> list[str]:
    """The names of all corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Prepare:
    """The ``prepare`` function of a corpus of speech.

    Raises:
        AsrKdError: there is no such script; lists those there are.
    """
    if gives_frames(name):
        raise AsrKdError(
            f"data.corpus={name} gives labelled frames and no speech: there is nothing to prepare"
        )
    prepare: Prepare = _script(name).prepare
    return prepare


def gives_frames(name: str) -> bool:
    """Whether a corpus gives labelled frames, and not speech; of one that is not known it is not said."""
    return name in known() and hasattr(_script(name), "frames")


def find_frames(name: str) -> Frames:
    """The ``frames`` function of a corpus of labelled frames."""
    frames: Frames = _script(name).frames
    return frames


def _script(name: str) -> ModuleType:
    if name not in known():
        raise AsrKdError(
            f"data.corpus={name}: there is no data_prep/{name}.py; there are {', '.join(known())}"
        )
    return import_module(f"data_prep.{name}")
