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
    for broken in ("{", "{}", "[]", '{"kind": "dnn", "settings": 3, "input_dims": 1, "senones": 1}'):
        (tmp_path / "model.json").write_text(broken)
        with pytest.raises(AsrKdError, match=r"model\.json does not describe a model"):
            load_model(tmp_path)
