import numpy as np
import pytest
from scipy import stats

from asr_kd.significance.power import cautions, detectable_difference


def test_large_samples_need_2_8_standard_errors() -> None:
    assert detectable_difference(1.0, 1_000_000) == pytest.approx(1.959964 + 0.841621, abs=1e-4)


def test_found_four_times_out_of_five() -> None:
    random, units, spread = np.random.default_rng(0), 40, 3.0
    true = detectable_difference(spread / np.sqrt(units), units)
    samples = random.normal(true, spread, (5000, units))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_cautions_name_what_is_too_few() -> None:
    assert cautions(500, 40, 80) == []
    assert cautions(500, 40) == []
    assert "not known" in cautions(500, None)[0]
    few = cautions(30, 4, 12)
    assert len(few) == 3
    assert "4 speakers" in few[0]
    assert "30 utterances" in few[1]
    assert "12 segments" in few[2]
    assert "one utterance" in cautions(1, 1)[-1]
