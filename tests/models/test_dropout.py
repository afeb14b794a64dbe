import pytest
import torch

from asr_kd.models.dropout import Dropout, part_of_batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeroes_the_asked_share_keeps_the_mean_and_masks_the_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    units = torch.ones(512, 256, dtype=dtype, requires_grad=True)
    dropped = Dropout(0.2)(units)
    zero = dropped == 0
    assert zero.float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert dropped.float().mean().item() == pytest.approx(1.0, abs=0.01)
    assert zero.float().mean(0).std() < 0.05 and zero.float().mean(1).std() < 0.05
    dropped.float().sum().backward()
    assert torch.equal(units.grad == 0, zero)


def test_masks_differ_from_call_to_call_and_follow_the_generator() -> None:
    units, layer = torch.ones(64, 64), Dropout(0.5)
    torch.manual_seed(3)
    first, second = layer(units), layer(units)
    torch.manual_seed(3)
    assert torch.equal(layer(units), first)
    assert not torch.equal(first, second)


def test_evaluation_leaves_units_alone() -> None:
    units = torch.randn(4, 4)
    assert Dropout(0.5).eval()(units) is units
    assert Dropout(0.0)(units) is units


def test_parts_of_a_batch_get_the_masks_of_the_whole() -> None:
    units, layers = torch.ones(10, 3, 64), (Dropout(0.5), Dropout(0.3))
    torch.manual_seed(3)
    whole = [layer(units) for layer in layers]
    for part in (slice(0, 4), slice(4, 10)):
        torch.manual_seed(3)
        with part_of_batch(part.start, len(units)):
            parts = [layer(units[part]) for layer in layers]
        for one, other in zip(parts, whole, strict=True):
            assert torch.equal(one, other[part])
