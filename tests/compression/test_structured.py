import copy

import pytest
import torch
from torch.nn import functional

from asr_kd.compression.networks import Shape, multiply_adds, shape_of
from asr_kd.compression.structured import SMALLEST_LAYER, choose_units, importance, keep_units, prune_units
from asr_kd.models import build
from asr_kd.models.dnn import WindowedNetwork
from asr_kd.training.loader import Batch

SETTINGS = {"kind": "dnn", "hidden_layers": 3, "hidden_units": 40, "left_context": 2, "right_context": 1}


def network(batch_norm: bool = True) -> WindowedNetwork:
    model = build({**SETTINGS, "batch_norm": batch_norm}, 5, 7, seed=1)
    assert isinstance(model, WindowedNetwork)
    model(torch.randn(200, 4, 5, generator=torch.Generator().manual_seed(0)))  # statistics of the norms
    return model.eval()


def batches() -> list[Batch]:
    random = torch.Generator().manual_seed(2)
    inputs = torch.randn(3, 50, 4, 5, generator=random)
    labels = torch.randint(7, (3, 50), generator=random)
    return [Batch(x, None, {"labels": y}) for x, y in zip(inputs, labels, strict=True)]


def loss(logits: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(logits, targets["labels"])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_units_that_nothing_listens_to_can_go(batch_norm: bool) -> None:
    model = network(batch_norm)
    kept = [torch.arange(0, 40, 2), torch.arange(30), torch.arange(5, 40)]
    names = [name for name in model.state_dict() if name.endswith("weight") and "norm" not in name]
    with torch.no_grad():
        for units, name in zip(kept, names[1:], strict=True):
            deaf = torch.ones(40, dtype=torch.bool)
            deaf[units] = False
            model.state_dict()[name][:, deaf] = 0.0
    smaller = keep_units(model, kept).eval()
    frames = torch.randn(2, 9, 5)
    torch.testing.assert_close(smaller(frames), model(frames))
    assert shape_of(smaller).units == (20, 30, 35)
    assert multiply_adds(smaller) == shape_of(smaller).multiply_adds == 20 * 20 + 20 * 30 + 30 * 35 + 35 * 7


def test_importance_is_the_effect_of_removal_to_first_order() -> None:
    model = network().double()
    data = [Batch(batch.inputs.double(), None, batch.targets) for batch in batches()]
    # `importance` computes in float32, as training data come.
    found = importance(copy.deepcopy(model).float(), batches(), loss)
    scores = torch.zeros(40, dtype=torch.float64)
    for batch in data:
        for row, label in zip(batch.inputs, batch.targets["labels"], strict=True):
            scores += _effects(model, row[None], label[None], len(data[0].inputs))
    wanted = scores.sqrt() / scores.sqrt().norm()
    torch.testing.assert_close(found[2], wanted, rtol=1e-2, atol=1e-4)
    assert all(abs(float(score.norm()) - 1.0) < 1e-6 for score in found)


def _effects(
    model: WindowedNetwork, frames: torch.Tensor, label: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """Squared changes of the loss as each unit of the last layer loses a tiny share of itself."""
    output, hidden = model.layers[-1], model.layers[:-1]
    windows = frames.unfold(1, 4, 1).transpose(2, 3).reshape(1, -1)
    units = hidden(windows)
    plain = functional.cross_entropy(output(units), label) / batch_size
    effects = []
    for unit in range(40):
        less = units.clone()
        less[0, unit] *= 1 - 1e-5
        effects.append((functional.cross_entropy(output(less), label) / batch_size - plain) / 1e-5)
    return torch.stack(effects).detach().square()


def test_cheap_units_stay_longer_and_no_layer_is_emptied() -> None:
    shape = Shape(1000, (50, 50), 10)
    even = [torch.ones(50), torch.ones(50)]
    kept = choose_units(even, shape, 0.6 * shape.multiply_adds)
    assert len(kept[0]) < len(kept[1]) == 50  # units of the first layer cost 1,050 multiply-adds, not 60
    assert Shape(1000, tuple(map(len, kept)), 10).multiply_adds <= 0.6 * shape.multiply_adds
    kept = choose_units([torch.zeros(50), torch.ones(50)], shape, 0.0)
    assert [len(units) for units in kept] == [SMALLEST_LAYER] * 2


def test_the_share_is_kept_to() -> None:
    model = network()
    full = multiply_adds(model)
    smaller = prune_units(model, 0.7, batches(), loss, full)
    assert 0.65 * full < multiply_adds(smaller) <= 0.7 * full
    assert smaller.left_context == model.left_context
