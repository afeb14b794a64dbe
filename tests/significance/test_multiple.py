import numpy as np
import pytest

from asr_kd.significance.multiple import holm


def test_worked_example() -> None:
    # Four hypotheses at level 0.05: only those with 0.005 and 0.01 are rejected.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_against_its_definition() -> None:
    values = np.random.default_rng(0).random(7) ** 3
    found = holm(values.tolist())
    for level in np.linspace(0.001, 0.999, 200):
        # Go up from the smallest as long as p is at most level / (hypotheses left).
        rejected = set()
        for step, place in enumerate(np.argsort(values)):
            if values[place] > level / (len(values) - step):
                break
            rejected.add(place)
        assert {place for place, p in enumerate(found) if p <= level} == rejected


def test_nothing_and_one() -> None:
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
