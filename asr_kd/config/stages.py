"""Which settings decide what a stage writes."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import reduce
from operator import getitem
from typing import Any

from asr_kd.config.schema import Config

_SECTIONS: dict[str, tuple[str, ...]] = {
    # An utterance shorter than a frame is none: so much of the features decides what the manifests hold.
    "data": ("data", "lms", "seed", "features.frame_shift_milliseconds"),
    "features": ("features",),
    "align": ("align", "lms", "seed", "precision"),
    "train": ("train", "seed"),
    "distill": ("distill", "data.unlabelled", "seed", "precision", "train.specialists.top"),
    "compress": ("compress", "seed"),
    "decode": ("decode", "precision", "train.specialists.top"),
    "bench": ("bench", "precision"),
}
STAGES = tuple(_SECTIONS)
# The entries of `views` that a stage trains on.
_VIEWS: dict[str, Callable[[Config], Iterable[str]]] = {
    "train": lambda config: config.train.views,
    "distill": lambda config: (
        view for student in config.distill.students.values() for view in student.transfer.views
    ),
}
# The entries of `models` that a stage builds.
_MODELS: dict[str, Callable[[Config], Iterable[str]]] = {
    "align": lambda config: [config.align.realign.model] if config.align.realign.rounds else [],
    "train": lambda config: config.train.models,
    "distill": lambda config: [student.model for student in config.distill.students.values()],
}


def stage_settings(config: Config, stage: str) -> dict[str, Any]:
    """The settings that decide what a stage writes, beside what it reads: plain data, by section.

    Settings that only decide how it is done (workers, device, folders) are not among them.
    """
    every = asdict(config)
    settings = {section: reduce(getitem, section.split("."), every) for section in _SECTIONS[stage]}
    if stage == "data":  # has nothing to do with audio without transcripts: students are what learns from it
        del settings["data"]["unlabelled"]
    if stage == "distill":  # they are written out, see `with_seeds`
        for student in settings["distill"]["students"].values():
            del student["seeds"]
    if stage in _MODELS:
        settings["models"] = {name: config.models.get(name) for name in sorted(set(_MODELS[stage](config)))}
    if stage in _VIEWS:
        settings["views"] = {name: every["views"].get(name) for name in sorted(set(_VIEWS[stage](config)))}
    return settings
