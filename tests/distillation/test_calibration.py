import numpy as np
import pytest
import torch

from asr_kd.distillation.calibration import add_bias, fit_bias, fit_temperature


def drawn(frames: int, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Log posteriors, and labels drawn from them."""
    random = torch.Generator().manual_seed(0)
    scores = (2 * torch.randn(frames, classes, generator=random)).log_softmax(1)
    return scores, torch.multinomial(scores.exp(), 1, generator=random)[:, 0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_was_taken_away_is_found(temperature: float) -> None:
    scores, labels = drawn(20_000)
    assert fit_temperature(scores / temperature, labels) == pytest.approx(1 / temperature, rel=0.05)


def errors(scores: torch.Tensor, labels: torch.Tensor, bias: float) -> int:
    return int((add_bias(scores, (2, 4), bias).argmax(1) != labels).sum())


def test_the_bias_leaves_as_few_errors_as_a_search_over_many() -> None:
    scores, labels = drawn(300)
    scores = add_bias(scores, (2, 4), -3.0)
    labels[:5] = -1
    found = fit_bias(scores, labels, (2, 4))
    kept = labels >= 0
    searched = min(errors(scores[kept], labels[kept], bias) for bias in np.linspace(-8, 12, 2001))
    assert errors(scores[kept], labels[kept], found) <= searched
    assert found == pytest.approx(3.0, abs=1.0)
