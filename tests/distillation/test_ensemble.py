import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from asr_kd.distillation.ensemble import average, fit_log_linear, map_senones
from asr_kd.errors import AsrKdError


def members(frames: int = 4, senones: int = 6, scale: float = 2.0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        (scale * torch.randn(frames, senones, generator=random, dtype=torch.float64)).log_softmax(1)
        for _ in range(3)
    ]


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


def test_log_linear_average_with_equal_weights_is_the_geometric_one() -> None:
    found = average(members(), "log-linear", [1 / 3] * 3)
    torch.testing.assert_close(found, average(members(), "geometric"))
    product = np.prod(
        [member.exp().numpy() ** weight for member, weight in zip(members(), (0.2, 0.5, 0.7), strict=True)], 0
    )
    found = average(members(), "log-linear", [0.2, 0.5, 0.7])
    np.testing.assert_allclose(found.exp().numpy(), product / product.sum(1, keepdims=True), rtol=1e-10)


def softened(log_posteriors: torch.Tensor, temperature: float) -> torch.Tensor:
    return (log_posteriors / temperature).log_softmax(-1)


@pytest.mark.parametrize(("kind", "same"), [("arithmetic", False), ("geometric", True)])
def test_softening_before_or_after_averaging(kind: str, same: bool) -> None:
    before = average([softened(member, 3.0) for member in members()], kind)
    after = softened(average(members(), kind), 3.0)
    assert torch.allclose(before, after) is same


def test_one_member_is_its_own_average() -> None:
    for kind in ("arithmetic", "geometric"):
        torch.testing.assert_close(average(members()[:1], kind), members()[0])


def test_tiny_posteriors_do_not_vanish() -> None:
    far = torch.tensor([[0.0, -200.0, -400.0]]).log_softmax(1)
    assert torch.isfinite(average([far, far])).all()


def drawn_labels(log_posteriors: torch.Tensor) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.multinomial(log_posteriors.exp(), 1, generator=random)[:, 0]


def test_learnt_weights_are_those_of_a_general_optimiser() -> None:
    every = members(400, 7, scale=1.5)
    labels = drawn_labels(average(every, "log-linear", [0.9, 0.3, 0.1]))
    stacked = np.stack([member.numpy() for member in every])

    def cross_entropy(weights: np.ndarray) -> float:
        scores = np.tensordot(weights, stacked, 1)
        log_sums = np.log(np.exp(scores).sum(1))
        return float((log_sums - scores[np.arange(len(labels)), labels.numpy()]).mean())

    expected = minimize(cross_entropy, np.full(3, 1 / 3), method="Nelder-Mead", options={"xatol": 1e-6})
    found = fit_log_linear(every, labels)
    np.testing.assert_allclose(found, expected.x, atol=1e-3)
    assert found[0] > found[1] > found[2]


def test_equal_members_share_their_weight_and_frames_without_a_label_do_not_count() -> None:
    member = members(300)[0]
    labels = drawn_labels(member)
    alone = fit_log_linear([member], labels)
    assert fit_log_linear([member, member], labels) == pytest.approx([alone[0] / 2] * 2, abs=1e-4)
    with_gap = fit_log_linear([torch.cat([member, -member])], torch.cat([labels, torch.full((300,), -1)]))
    assert with_gap == pytest.approx(alone)


def test_the_weight_of_a_single_member_is_the_inverse_of_its_temperature() -> None:
    true = members(20_000)[0]
    assert fit_log_linear([(3 * true).log_softmax(1)], drawn_labels(true))[0] == pytest.approx(
        1 / 3, rel=0.03
    )


def test_senones_are_mapped_by_their_mass() -> None:
    own = members()[0]
    merged = map_senones(own, torch.tensor([0, 0, 1, 1, 1, 2])).exp()
    p = own.exp()
    expected = torch.stack([p[:, :2].sum(1), p[:, 2:5].sum(1), p[:, 5]], 1)
    torch.testing.assert_close(merged, expected)
    shares = torch.rand(6, 4, dtype=torch.float64).softmax(1)
    torch.testing.assert_close(map_senones(own, shares).exp(), p @ shares)
    far = torch.tensor([[0.0, -300.0]])
    assert map_senones(far, torch.tensor([1, 0]))[0, 1].item() == pytest.approx(0.0)
    assert torch.isfinite(map_senones(far, torch.tensor([1, 0]))).all()


def test_wrong_use_is_refused() -> None:
    with pytest.raises(AsrKdError, match=r"distill\.average='median'"):
        average(members(), "median")
    with pytest.raises(AsrKdError, match=r"needs members of one shape.*mapping"):
        average([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(AsrKdError, match="not none"):
        average([])
    with pytest.raises(AsrKdError, match="weights belong to"):
        average(members(), "log-linear")
    with pytest.raises(AsrKdError, match="2 weights for 3 members"):
        average(members(), "log-linear", [0.5, 0.5])
    with pytest.raises(AsrKdError, match="3 rows for a model of 6"):
        map_senones(members()[0], torch.arange(3))
    with pytest.raises(AsrKdError, match="not distributions"):
        map_senones(members()[0], torch.full((6, 2), math.pi))
    with pytest.raises(AsrKdError, match="no frame of part dev"):
        fit_log_linear(members(), torch.full((4,), -1))
