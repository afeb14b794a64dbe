import numpy as np
import pytest
import torch

from asr_kd.distillation.ensemble import average
from asr_kd.errors import AsrKdError


def members() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [(2 * torch.randn(4, 6, generator=random, dtype=torch.float64)).log_softmax(1) for _ in range(3)]


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_averages_equal_the_plain_means(kind: str) -> None:
    posteriors = np.stack([member.exp().numpy() for member in members()])
    mean = posteriors.mean(0) if kind == "arithmetic" else posteriors.prod(0) ** (1 / 3)
    mean /= mean.sum(1, keepdims=True)
    np.testing.assert_allclose(average(members(), kind).exp().numpy(), mean, rtol=1e-12)


def test_geometric_average_is_the_softmax_of_mean_logits() -> None:
    logits = [torch.randn(4, 6) for _ in range(3)]
    found = average([member.log_softmax(1) for member in logits], "geometric")
    torch.testing.assert_close(found, torch.stack(logits).mean(0).log_softmax(1))


def test_one_member_is_its_own_average() -> None:
    for kind in ("arithmetic", "geometric"):
        torch.testing.assert_close(average(members()[:1], kind), members()[0])


def test_tiny_posteriors_do_not_vanish() -> None:
    far = torch.tensor([[0.0, -200.0, -400.0]]).log_softmax(1)
    assert torch.isfinite(average([far, far])).all()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(AsrKdError, match=r"distill\.average='median'"):
        average(members(), "median")
    with pytest.raises(AsrKdError, match="needs members of one shape"):
        average([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(AsrKdError, match="not none"):
        average([])
