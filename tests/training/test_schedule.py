import pytest

from asr_kd.config import OptimiserConfig
from asr_kd.training.schedule import learning_rate

SETTINGS = OptimiserConfig(peak_learning_rate=2.0, final_learning_rate=0.5, warmup_fraction=0.2)


@pytest.mark.parametrize(("fraction", "rate"), [(0.0, 0.0), (0.1, 1.0), (0.2, 2.0), (0.6, 1.25), (1.0, 0.5)])
def test_warms_up_linearly_and_falls_by_a_cosine(fraction: float, rate: float) -> None:
    assert learning_rate(fraction, SETTINGS) == pytest.approx(rate)


def test_no_warm_up_begins_at_the_peak() -> None:
    settings = OptimiserConfig(peak_learning_rate=2.0, warmup_fraction=0.0)
    assert learning_rate(0.0, settings) == 2.0
