"""Checkpoints: our own scratch, replaced whole, read back without running code from them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from asr_kd.artifacts import replace_file
from asr_kd.errors import AsrKdError

# Dot files: scratch that does not become part of the artefact.
CHECKPOINT_FILE = ".checkpoint.pt"
EPOCH_FILE = ".epoch.pt"  # as of the end of the last good epoch, whatever the time of checkpoints


@dataclass
class Progress:
    """How far a training has come: with the weights and the optimiser's state, all that a resumption needs.

    No generator states: every random choice follows from the seed and the number of the update.
    """

    epoch: int = 0  # the current one, from 0
    batches: int = 0  # of the current epoch that are done
    updates: int = 0
    summed_loss: float = 0.0  # over the current epoch's updates
    largest_gradient: float = 0.0  # norm, of the current epoch's updates
    best_cross_entropy: float = math.inf
    roll_backs: int = 0  # returns to an earlier epoch so far
    micro_chunks: int = 0  # chunks of a batch that are computed at once; 0: all
    records: list[dict[str, Any]] = field(default_factory=list)


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
