import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.compression import export
from asr_kd.compression.export import compare, export_checked, export_network
from asr_kd.compression.quantise import quantise
from asr_kd.decoding.network import BLOCK_FRAMES, OnnxNetwork
from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel, build
from asr_kd.models.inference import log_posteriors

RANDOM = np.random.default_rng(3)
UTTERANCES = [RANDOM.standard_normal((frames, 8)).astype(np.float16) for frames in (1, 7, 33, 150)]
SETTINGS = {
    "dnn": {"kind": "dnn", "hidden_layers": 2, "hidden_units": 64, "left_context": 4, "right_context": 3},
    "tdnn": {"kind": "tdnn", "channels": 24},
}


def trained(kind: str) -> AcousticModel:
    model = build(SETTINGS[kind], 8, 20, seed=5)
    context = model.left_context + model.right_context
    for _ in range(20):  # statistics of the norms
        model(torch.randn(30, context + 2, 8, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        model.layers[-1].weight.mul_(4.0)  # type: ignore[union-attr,operator]
    return model.eval()


@pytest.fixture(scope="module")
def dnn(tmp_path_factory: pytest.TempPathFactory) -> tuple[AcousticModel, Path]:
    path = tmp_path_factory.mktemp("dnn") / "network.onnx"
    model = trained("dnn")
    export_checked(model, path, UTTERANCES)
    return model, path


def test_posteriors_are_those_of_torch(dnn: tuple[AcousticModel, Path]) -> None:
    model, path = dnn
    network = OnnxNetwork(path)
    assert (network.left_context, network.right_context, network.senones) == (4, 3, 20)
    assert network.parameters == model.parameter_count
    for features in [*UTTERANCES, RANDOM.standard_normal((BLOCK_FRAMES, 8))]:
        wanted = log_posteriors(model, features).numpy()
        np.testing.assert_allclose(network.log_posteriors(features), wanted, atol=1e-4)
    assert network.log_posteriors(np.zeros((0, 8))).shape == (0, 20)
    agreement = compare(model, network, UTTERANCES)
    assert (agreement.frames, agreement.same_best) == (191, 1.0)
    assert agreement.divergence < 1e-6


def test_a_tdnn_can_be_exported(tmp_path: Path) -> None:
    assert export_checked(trained("tdnn"), tmp_path / "network.onnx", UTTERANCES).max_difference < 1e-4


def test_an_export_that_is_not_true_is_refused(
    dnn: tuple[AcousticModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: AcousticModel, path: Path) -> None:
        path.write_bytes(dnn[1].read_bytes())

    monkeypatch.setattr(export, "export_network", wrong)
    other = trained("dnn")
    with torch.no_grad():
        other.layers[0].weight[0, 0] += 1.0  # type: ignore[union-attr,index,operator]
    with pytest.raises(AsrKdError, match=r"log posteriors of the exported network differ"):
        export_checked(other, tmp_path / "network.onnx", UTTERANCES)
    assert not (tmp_path / "network.onnx").exists()


def test_an_export_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: AcousticModel, path: Path) -> None:
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.layers[0].weight[0, 0] = float("nan")  # type: ignore[union-attr,index,operator]
        export_network(other, path)

    monkeypatch.setattr(export, "export_network", broken)
    with pytest.raises(AsrKdError, match=r"network.onnx .*not finite"):
        export_checked(trained("dnn"), tmp_path / "network.onnx", UTTERANCES)
    assert not (tmp_path / "network.onnx").exists()


def test_a_network_that_is_no_number_agrees_with_nothing(dnn: tuple[AcousticModel, Path]) -> None:
    broken = trained("dnn")
    with torch.no_grad():
        broken.layers[0].weight[0, 0] = float("nan")  # type: ignore[union-attr,index,operator]
    assert np.isnan(compare(broken, OnnxNetwork(dnn[1]), UTTERANCES).max_difference)


@pytest.mark.parametrize("utterances", [[], [np.zeros((0, 8), np.float16)]])
def test_an_export_that_cannot_be_compared_is_refused(tmp_path: Path, utterances: list[np.ndarray]) -> None:
    with pytest.raises(AsrKdError, match="no frames to compare"):
        export_checked(trained("dnn"), tmp_path / "network.onnx", utterances)
    assert not (tmp_path / "network.onnx").exists()


def test_nothing_of_this_machine_is_in_the_file(dnn: tuple[AcousticModel, Path]) -> None:
    content = dnn[1].read_bytes()
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_int8_is_smaller_and_close(dnn: tuple[AcousticModel, Path], tmp_path: Path, method: str) -> None:
    model, path = dnn
    quantise(path, tmp_path / "int8.onnx", method, UTTERANCES)
    agreement = compare(model, OnnxNetwork(tmp_path / "int8.onnx"), UTTERANCES)
    assert 0 < agreement.divergence < 0.05
    assert agreement.same_best > 0.9
    assert (tmp_path / "int8.onnx").stat().st_size < path.stat().st_size


def test_static_scales_come_from_short_utterances(dnn: tuple[AcousticModel, Path], tmp_path: Path) -> None:
    model, path = dnn
    quantise(path, tmp_path / "int8.onnx", "static", UTTERANCES[:3])
    assert compare(model, OnnxNetwork(tmp_path / "int8.onnx"), UTTERANCES[:3]).divergence < 0.05


def test_static_scales_come_from_the_ends_of_utterances_too(
    dnn: tuple[AcousticModel, Path], tmp_path: Path
) -> None:
    model, path = dnn
    # Loud frames behind a whole block with its context.
    frames = UTTERANCES[3][: BLOCK_FRAMES + 12].copy()
    frames[BLOCK_FRAMES + 7 :] *= 10
    quantise(path, tmp_path / "int8.onnx", "static", [frames])
    assert compare(model, OnnxNetwork(tmp_path / "int8.onnx"), [frames]).divergence < 0.05


def test_quantisation_that_cannot_be_is_refused(dnn: tuple[AcousticModel, Path], tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="choose dynamic or static"):
        quantise(dnn[1], tmp_path / "int8.onnx", "int4", UTTERANCES)
    with pytest.raises(AsrKdError, match="needs calibration data"):
        quantise(dnn[1], tmp_path / "int8.onnx", "static", [])
