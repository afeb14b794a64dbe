"""Acoustic models by name: a new kind is one file and one line here; a preset is one YAML file."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import torch
import yaml

from asr_kd.errors import AsrKdError
from asr_kd.models.base import AcousticModel, ModelSettings
from asr_kd.models.compressed_dnn import CompressedDnn, CompressedDnnSettings
from asr_kd.models.dnn import Dnn, DnnSettings
from asr_kd.models.tdnn import Tdnn, TdnnSettings

KINDS: dict[str, tuple[type[ModelSettings], type[AcousticModel]]] = {
    "dnn": (DnnSettings, Dnn),
    "compressed_dnn": (CompressedDnnSettings, CompressedDnn),
    "tdnn": (TdnnSettings, Tdnn),
}
PRESETS = files("asr_kd.config") / "models"


def resolve(settings: Mapping[str, Any]) -> tuple[ModelSettings, type[AcousticModel]]:
    """Checked settings and the class they are for.

    Args:
        settings: ``{kind: dnn, ...}`` or ``{preset: hinton2015, ...}``; beside a preset stand settings that
            it leaves open.

    Raises:
        AsrKdError: an unknown kind, preset or setting, by name, with the known ones; a preset with settings
            that contradict it.
    """
    given = _with_preset(settings) if "preset" in settings else dict(settings)
    kind = given.pop("kind", None)
    if kind not in KINDS:
        raise AsrKdError(
            f"unknown kind of model {kind!r}; known kinds: {', '.join(sorted(KINDS))}; "
            f"known presets: {', '.join(_preset_names())}"
        )
    settings_class, model_class = KINDS[kind]
    return settings_class.from_mapping(given), model_class


def named_settings(models: Mapping[str, Mapping[str, Any]], name: str, setting: str) -> dict[str, Any]:
    """The checked, complete settings of the model called `name`: one of a recipe's `models`, or a preset.

    Raises:
        AsrKdError: there is no such model; names the `setting` that asks for it.
    """
    if name not in models and name not in _preset_names():
        raise AsrKdError(
            f"{setting} asks for model {name!r}, but `models` has only: {', '.join(sorted(models))}; "
            f"known presets: {', '.join(_preset_names())}"
        )
    checked, _ = resolve(models.get(name, {"preset": name}))
    return {"kind": checked.kind, **asdict(checked)}


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


def _with_preset(settings: Mapping[str, Any]) -> dict[str, Any]:
    name = settings["preset"]
    preset, others = _preset(name), {key: value for key, value in settings.items() if key != "preset"}
    against = [f"{key}={others[key]}" for key in preset if others.get(key, preset[key]) != preset[key]]
    if against:
        raise AsrKdError(
            f"a model with preset {name!r} cannot have {', '.join(against)}: leave these out, or the preset. "
            f"Beside the recipe's own models the preset is a model by its name: train.models=[{name}]"
        )
    return {**preset, **others}


def _preset(name: Any) -> dict[str, Any]:
    if name not in _preset_names():
        raise AsrKdError(f"no preset {name!r} of models; known are: {', '.join(_preset_names())}")
    content: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def _preset_names() -> list[str]:
    names = (entry.name for entry in PRESETS.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
