import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel, build
from asr_kd.models.storage import load_model, save_model


@pytest.fixture
def model() -> AcousticModel:
    return build({"kind": "tdnn", "channels": 6, "kernel_sizes": [3], "dilations": [2]}, 5, 4, seed=0).eval()


def test_round_trip_is_exact(model: AcousticModel, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    frames = torch.randn(1, 9, 5)
    assert torch.equal(loaded(frames), model(frames))
    assert loaded.description() == model.description()
    assert not loaded.training


def test_wrong_shape_is_refused_by_name(model: AcousticModel, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "senones": 7}))
    with pytest.raises(AsrKdError, match=r"layers\.output\.bias is torch\.float32 \(4,\).*\(7,\)"):
        load_model(tmp_path)


def test_missing_unknown_and_non_finite_weights_are_refused_by_name(
    model: AcousticModel, tmp_path: Path
) -> None:
    save_model(tmp_path, model)
    weights = load_file(tmp_path / "model.safetensors")
    bias = weights["layers.output.bias"]
    for changed, message in [
        ({name: tensor for name, tensor in weights.items() if name != "layers.output.bias"}, "has no weight"),
        ({**weights, "layers.extra": bias.clone()}, "weight layers.extra that"),
        ({**weights, "layers.output.bias": bias * float("nan")}, "not finite"),
    ]:
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(AsrKdError, match=message):
            load_model(tmp_path)


def test_broken_files_are_refused_by_name(model: AcousticModel, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(AsrKdError, match=r"model\.safetensors cannot be read"):
        load_model(tmp_path)
    numbers = ("-1", "0", "1.5", "true", "Infinity", "1" + 30 * "0")
    sizes = [f'{{"kind": "dnn", "settings": {{}}, "input_dims": {one}, "senones": 1}}' for one in numbers]
    no_settings = '{"kind": "dnn", "settings": 3, "input_dims": 1, "senones": 1}'
    for broken in ("{", "{}", "[]", "[" * 100_000, no_settings, *sizes):
        (tmp_path / "model.json").write_text(broken)
        with pytest.raises(AsrKdError, match=r"model\.json does not describe a model"):
            load_model(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "dnn", "hidden_layers": 1_000_000_000}, "hidden_layers=1000000000 is not from 1 to 200"),
        ({"kind": "dnn", "hidden_units": 10**12}, "weight|does not describe"),
        ({"kind": "dnn", "left_context": 10**9}, "left_context=1000000000 is not"),
        ({"kind": "tdnn", "kernel_sizes": [3], "dilations": [10**9]}, "context=1000000000 is not from 0 to"),
        (
            {"kind": "tdnn", "kernel_sizes": [10**9 + 1], "dilations": [1]},
            "context=500000000 is not from 0 to",
        ),
        ({"kind": "tdnn", "kernel_sizes": [1] * 1000, "dilations": [1] * 1000}, "kernel_sizes"),
        ({"kind": "compressed_dnn", "units": [4] * 1000, "ranks": [0] * 1001}, "units"),
        ({"kind": "compressed_dnn", "units": [4], "ranks": [0, 0], "left_context": -1}, "left_context=-1 is"),
        ({"kind": "gru"}, "unknown kind of model 'gru'"),
    ],
)
def test_what_a_description_claims_takes_no_memory_or_time(
    model: AcousticModel, tmp_path: Path, settings: dict, message: str
) -> None:
    save_model(tmp_path, model)
    kind = settings.pop("kind")
    description = {"kind": kind, "settings": settings, "input_dims": 5, "senones": 4}
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(AsrKdError, match=rf"model\.(json|safetensors).*({message})"):
        load_model(tmp_path)


def test_sparse_weights_fit_their_description(tmp_path: Path) -> None:
    save_model(tmp_path, build({"kind": "dnn", "hidden_layers": 1, "hidden_units": 4}, 3, 2), sparse=True)
    weights = load_file(tmp_path / "model.safetensors")
    name = "layers.linear0.weight"
    description = json.loads((tmp_path / "model.json").read_text())
    huge = {**description, "settings": {**description["settings"], "hidden_units": 9_000_000}}
    (tmp_path / "model.json").write_text(json.dumps(huge))  # 700 million weights
    with pytest.raises(AsrKdError, match=rf"sparse weight {name} does not fit"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(description))
    mask = weights[f"{name}.nonzero"]
    for wrong in (mask[:-1], mask.float(), torch.zeros_like(mask)):
        save_file({**weights, f"{name}.nonzero": wrong.contiguous()}, tmp_path / "model.safetensors")
        with pytest.raises(AsrKdError, match=rf"sparse weight {name} does not fit"):
            load_model(tmp_path)
