"""Acoustic models by name: a new kind is one file and one line here; a preset is one YAML file."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import torch
import yaml

from asr_kd.errors import AsrKdError
from asr_kd.models.base import AcousticModel, ModelSettings
from asr_kd.models.dnn import Dnn, DnnSettings
from asr_kd.models.tdnn import Tdnn, TdnnSettings

KINDS: dict[str, tuple[type[ModelSettings], type[AcousticModel]]] = {
    "dnn": (DnnSettings, Dnn),
    "tdnn": (TdnnSettings, Tdnn),
}
PRESETS = files("asr_kd.config") / "models"


def resolve(settings: Mapping[str, Any]) -> tuple[ModelSettings, type[AcousticModel]]:
    """Checked settings and the class they are for.

    Args:
        settings: ``{kind: dnn, ...}`` or ``{preset: hinton2015, ...}``; other keys go over the preset's.

    Raises:
        AsrKdError: an unknown kind, preset or setting, by name, with the known ones.
    """
    given = dict(settings)
    if "preset" in given:
        given = {**_preset(given.pop("preset")), **given}
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise AsrKdError(
            f"unknown kind of model {kind!r}; known kinds: {', '.join(sorted(KINDS))}; "
            f"known presets: {', '.join(_preset_names())}"
        )
    settings_class, model_class = KINDS[kind]
    return settings_class.from_mapping(given), model_class


def build(
    settings: Mapping[str, Any], input_dims: int, senones: int, seed: int | None = None
) -> AcousticModel:
    """A model with random weights.

    Args:
        settings: see `resolve`.
        input_dims: features of one frame.
        senones: classes.
        seed: of the initial weights; none: torch's global generator goes on.
    """
    checked, model_class = resolve(settings)
    if seed is None:
        return model_class(checked, input_dims, senones)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(checked, input_dims, senones)


def _preset(name: Any) -> dict[str, Any]:
    if name not in _preset_names():
        raise AsrKdError(f"no preset {name!r} of models; known are: {', '.join(_preset_names())}")
    content: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def _preset_names() -> list[str]:
    names = (entry.name for entry in PRESETS.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
