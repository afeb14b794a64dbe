import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.models import build, resolve
from asr_kd.models.registry import named_settings


def test_unknown_setting_is_refused_by_name_with_the_known_ones() -> None:
    with pytest.raises(AsrKdError, match=r"no setting 'hiden_units'; known are: .*hidden_units"):
        build({"kind": "dnn", "hiden_units": 512}, 40, 10)


def test_unknown_kind_and_preset_are_refused_by_name() -> None:
    with pytest.raises(AsrKdError, match="'lstm'; known kinds: compressed_dnn, dnn, tdnn"):
        build({"kind": "lstm"}, 40, 10)
    with pytest.raises(AsrKdError, match=r"no preset 'hinton2014'.*hinton2015"):
        build({"preset": "hinton2014"}, 40, 10)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "dnn", "hidden_layers": "4"},
        {"kind": "dnn", "batch_norm": 1},
        {"kind": "dnn", "hidden_units": True},
        {"kind": "dnn", "dropout": 1.0},
        {"kind": "dnn", "left_context": -1},
        {"kind": "tdnn", "kernel_sizes": [4, 3], "dilations": [1, 1]},
        {"kind": "tdnn", "kernel_sizes": [3, 3], "dilations": [1]},
        {"kind": "tdnn", "kernel_sizes": 3},
    ],
)
def test_wrong_values_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(AsrKdError, match="models of kind"):
        resolve(settings)


def test_preset_is_the_papers_net_and_leaves_the_rest_open() -> None:
    settings, _ = resolve({"preset": "hinton2015", "kind": "dnn", "dropout": 0.0})
    assert (settings.hidden_layers, settings.hidden_units) == (8, 2560)  # type: ignore[attr-defined]
    assert (settings.left_context, settings.right_context, settings.dropout) == (20, 5, 0.0)  # type: ignore[attr-defined]


def test_a_preset_is_not_cancelled_by_what_stands_beside_it() -> None:
    with pytest.raises(AsrKdError, match=r"cannot have hidden_layers=4, hidden_units=512: .*=\[hinton2015\]"):
        resolve({"preset": "hinton2015", "kind": "dnn", "hidden_layers": 4, "hidden_units": 512})
    with pytest.raises(AsrKdError, match="cannot have kind=tdnn"):
        resolve({"preset": "hinton2015", "kind": "tdnn"})


def test_names_are_those_of_the_recipe_and_then_presets() -> None:
    models = {"own": {"kind": "dnn", "hidden_units": 8}, "twin": {"preset": "hinton2015"}}
    assert named_settings(models, "own", "train.models")["hidden_units"] == 8
    paper = named_settings(models, "hinton2015", "train.models")
    assert paper == named_settings(models, "twin", "train.models") and paper["hidden_units"] == 2560
    with pytest.raises(AsrKdError, match=r"train\.models asks for model 'large'.*own, twin; .*hinton2015"):
        named_settings(models, "large", "train.models")


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build({"kind": "dnn", "hidden_units": 8}, 4, 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(first.layers.output.weight, other.layers.output.weight)  # type: ignore[union-attr]
