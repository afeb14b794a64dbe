import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.models import build, resolve


def test_unknown_setting_is_refused_by_name_with_the_known_ones() -> None:
    with pytest.raises(AsrKdError, match=r"no setting 'hiden_units'; known are: .*hidden_units"):
        build({"kind": "dnn", "hiden_units": 512}, 40, 10)


def test_unknown_kind_and_preset_are_refused_by_name() -> None:
    with pytest.raises(AsrKdError, match="'lstm'; known kinds: dnn, tdnn"):
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


def test_preset_is_the_papers_net_and_can_be_overridden() -> None:
    settings, _ = resolve({"preset": "hinton2015", "hidden_units": 64})
    assert (settings.hidden_layers, settings.left_context, settings.right_context) == (8, 20, 5)  # type: ignore[attr-defined]
    assert settings.hidden_units == 64  # type: ignore[attr-defined]
    assert resolve({"preset": "hinton2015"})[0].hidden_units == 2560  # type: ignore[attr-defined]


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build({"kind": "dnn", "hidden_units": 8}, 4, 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert not torch.equal(first.layers.output.weight, other.layers.output.weight)  # type: ignore[union-attr]
