import pytest

from asr_kd.distillation.quality import Sums
from asr_kd.report.specialists import covering_rows


def covered(*correct: int) -> dict[int, dict[str, Sums]]:
    """Frames whose label no specialist knows, and one knows, of as many speakers as there are numbers."""
    return {
        count: {
            f"s{place}": Sums(frames=100, correct=own, cross_entropy=50.0)
            for place, own in enumerate(correct)
        }
        for count in (0, 1)
    }


def test_changes_have_an_interval_by_speaker() -> None:
    for row in covering_rows(covered(70, 80, 60), covered(60, 75, 50), seed=0):
        assert (row["frames"], row["change_in_correct"]) == (300, 25)
        change = row["accuracy_change"]
        assert change["low"] <= change["value"] <= change["high"]


def test_differences_are_paired_by_speaker() -> None:
    """Speakers differ, and what is gained on each does not: there is nothing to be unsure of."""
    for row in covering_rows(covered(75, 95, 15), covered(70, 90, 10), seed=0):
        change = row["accuracy_change"]
        assert (change["low"], change["high"]) == pytest.approx((0.05, 0.05))


def test_of_one_speaker_there_is_none() -> None:
    rows = covering_rows(covered(70), covered(60), seed=0)
    assert [(row["change_in_correct"], row["accuracy_change"]) for row in rows] == [(10, None), (10, None)]
