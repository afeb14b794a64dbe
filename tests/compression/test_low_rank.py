import torch

from asr_kd.compression.low_rank import choose_ranks, factorise
from asr_kd.compression.networks import Shape, multiply_adds
from asr_kd.models import build
from asr_kd.models.dnn import WindowedNetwork


def network() -> WindowedNetwork:
    settings = {"kind": "dnn", "hidden_layers": 2, "hidden_units": 60, "left_context": 3, "right_context": 3}
    model = build(settings, 10, 30, seed=4)
    assert isinstance(model, WindowedNetwork)
    return model.eval()


def test_matrices_of_low_rank_lose_nothing() -> None:
    model = network()
    with torch.no_grad():
        for weight in (model.layers[0].weight, model.layers[4].weight):
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            values[5:] = 0
            weight.copy_(left @ values.diag() @ right)
    smaller = factorise(model, 0.6, multiply_adds(model)).eval()
    frames = torch.randn(2, 20, 10)
    torch.testing.assert_close(smaller(frames), model(frames), rtol=1e-4, atol=1e-4)
    assert multiply_adds(smaller) <= 0.6 * multiply_adds(model)


def test_a_second_factorisation_goes_on_from_the_first() -> None:
    model = network()
    full = multiply_adds(model)
    twice = factorise(factorise(model, 0.6, full), 0.3, full)
    assert multiply_adds(twice) <= 0.3 * full


def test_ranks_go_where_the_values_are() -> None:
    shape = Shape(100, (100,), 100)
    flat, steep = torch.ones(100), torch.logspace(0, -6, 100)
    first, second = choose_ranks([flat, steep], shape, 0.7 * shape.multiply_adds)
    assert first == 0  # as a product it would be dearer
    assert 0 < second < 50
    assert choose_ranks([flat, flat], shape, 2.0 * shape.multiply_adds) == (0, 0)
