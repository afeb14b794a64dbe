"""One script a corpus: where it comes from, how it becomes utterances.

Each module has ``prepare(config: DataConfig, folder: Path, seed: int, workers: int) -> Corpus``; `folder` is
where it keeps what it downloads or synthesises, `seed` decides what it draws at random, if anything, and
`workers` says how many processes it may use.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import Corpus
from asr_kd.errors import AsrKdError

Prepare = Callable[[DataConfig, Path, int, int], Corpus]


def known() -> list[str]:
    """The names of all corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Prepare:
    """The ``prepare`` function of a corpus.

    Raises:
        AsrKdError: there is no such script; lists those there are.
    """
    if name not in known():
        raise AsrKdError(
            f"data.corpus={name}: there is no data_prep/{name}.py; there are {', '.join(known())}"
        )
    prepare: Prepare = import_module(f"data_prep.{name}").prepare
    return prepare
