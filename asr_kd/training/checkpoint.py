"""Checkpoints: our own scratch, replaced whole, read back without running code from them."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from asr_kd.artifacts import replace_file
from asr_kd.errors import AsrKdError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain data; whoever is killed meanwhile leaves the older checkpoint."""
    with replace_file(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is nothing.

    Raises:
        AsrKdError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with ZipFile(path) as archive:  # torch writes check sums, and does not look at them
            if damaged := archive.testzip():
                raise BadZipFile(f"{damaged} is not what was written")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError, BadZipFile) as error:
        raise AsrKdError(f"{path} is damaged ({error}); delete it to train from the start") from error
    return state
