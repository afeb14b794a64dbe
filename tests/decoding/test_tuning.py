import math
from collections.abc import Sequence

import pytest

from asr_kd.config import DecodeConfig
from asr_kd.decoding.tuning import ScaleGrid, bottom, tune, tuning_part, walk_down
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.scoring.wer import ErrorCounts

SCALES = [0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4]


class Valley:
    """Dev with its fewest errors at one scale; small beams cost errors."""

    def __init__(self, best: float, beam_errors: dict[float, int] | None = None) -> None:
        self.best = best
        self.beam_errors = beam_errors or {}
        self.calls: list[tuple[float, float]] = []

    def __call__(self, pairs: Sequence[tuple[float, float]]) -> list[ErrorCounts]:
        self.calls += pairs
        return [
            ErrorCounts(
                10_000, 500 + round(400 * math.log(scale / self.best) ** 2) + self.beam_errors.get(beam, 0)
            )
            for scale, beam in pairs
        ]


@pytest.mark.parametrize("best", [*SCALES, 0.06, 0.083, 0.12, 0.17, 0.24, 0.33])
def test_finds_the_bottom_of_the_valley_wherever_it_is(best: float) -> None:
    tuning = tune(Valley(best), DecodeConfig(acoustic_scales=SCALES))
    assert tuning.acoustic_scale == pytest.approx(best, rel=0.05)  # two digits
    assert tuning.at_edge == (best in (SCALES[0], SCALES[-1]))


@pytest.mark.parametrize("best", [0.0125, 1.5])
def test_extends_the_grid_until_the_best_is_inside(best: float) -> None:
    tuning = tune(Valley(best), DecodeConfig(acoustic_scales=SCALES))
    assert tuning.acoustic_scale == pytest.approx(best, rel=0.05)
    assert tuning.to_json()["best_scale_at_edge_of_grid"] is True


def test_scales_are_compared_at_the_largest_beam_and_no_decoding_is_done_twice() -> None:
    valley = Valley(0.1)
    tuning = tune(valley, DecodeConfig(beams=[8.0, 10.0, 12.0]))
    assert valley.calls == [(0.07, 12.0), (0.1, 12.0), (0.14, 12.0), (0.1, 8.0)]
    assert [(trial.acoustic_scale, trial.beam) for trial in tuning.trials] == valley.calls


def test_a_scale_between_those_of_the_grid_is_tried_with_every_beam() -> None:
    valley = Valley(0.12)
    tuning = tune(valley, DecodeConfig(beams=[8.0, 12.0]))
    assert valley.calls[3:] == [(0.2, 12.0), (0.12, 12.0), (0.12, 8.0)]
    assert (tuning.acoustic_scale, tuning.beam) == (0.12, 8.0)


def test_an_error_more_or_less_moves_the_scale_little() -> None:
    # Either of two scales is the best one by an error.
    lower = bottom([0.05, 0.07, 0.1], [335, 289, 290])
    upper = bottom([0.07, 0.1, 0.14], [290, 289, 323])
    assert 0.07 < lower <= upper < 0.1
    assert upper - lower < 0.005


def test_scales_that_are_all_alike_are_not_left() -> None:
    assert bottom([0.07, 0.1, 0.14], [9, 9, 9]) == 0.1


@pytest.mark.parametrize(
    ("tolerance", "cost", "beam"),
    [
        (0.5, {9.0: 50, 11.0: 0}, 9.0),
        (0.5, {9.0: 51, 11.0: 50}, 11.0),
        (0.5, {9.0: 90, 11.0: 60}, 13.0),
        (0.0, {9.0: 1, 11.0: 0}, 11.0),
    ],
)
def test_smallest_beam_within_the_tolerance(tolerance: float, cost: dict[float, int], beam: float) -> None:
    settings = DecodeConfig(beams=[13.0, 9.0, 11.0], beam_tolerance=tolerance)
    assert tune(Valley(0.1, cost), settings).beam == beam


def test_one_scale_is_taken_as_given() -> None:
    valley = Valley(0.3)
    tuning = tune(valley, DecodeConfig(acoustic_scales=[0.1], beams=[10.0]))
    assert (tuning.acoustic_scale, tuning.beam, tuning.at_edge) == (0.1, 10.0, False)
    assert valley.calls == [(0.1, 10.0)]


def test_the_tuning_part_is_spread_over_dev() -> None:
    index = FrameIndex.from_lengths([str(n) for n in range(10)], ["s"] * 10, [100] * 10)
    assert tuning_part(index, 1000) == list(range(10))
    assert tuning_part(index, 400) == [0, 3, 6, 9]


def test_ties_stay_at_the_usual_scale() -> None:
    grid = ScaleGrid(SCALES)
    assert grid[walk_down(lambda scales: [7] * len(scales), grid)] == 0.1


@pytest.mark.parametrize("scales", [[], [0.2, 0.1], [0.0, 0.1], [0.1, 0.1]])
def test_what_is_no_grid_is_refused(scales: list[float]) -> None:
    with pytest.raises(AsrKdError, match="acoustic_scales"):
        tune(Valley(0.1), DecodeConfig(acoustic_scales=scales))
    with pytest.raises(AsrKdError, match="beams"):
        tune(Valley(0.1), DecodeConfig(beams=[]))
