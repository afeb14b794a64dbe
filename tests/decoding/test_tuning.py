import math
from collections.abc import Sequence

import pytest

from asr_kd.config import DecodeConfig
from asr_kd.decoding.tuning import ScaleGrid, coarse_part, tune, walk_down
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.scoring.wer import ErrorCounts

SCALES = [0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4]


class Valley:
    """Dev with its fewest errors at one scale; small beams cost errors."""

    def __init__(self, best: float, beam_errors: dict[float, int] | None = None) -> None:
        self.best = best
        self.beam_errors = beam_errors or {}
        self.calls: list[tuple[float, float, bool]] = []

    def __call__(self, pairs: Sequence[tuple[float, float]], whole: bool) -> list[ErrorCounts]:
        self.calls += [(scale, beam, whole) for scale, beam in pairs]
        return [
            ErrorCounts(
                1000, 50 + round(40 * abs(math.log(scale / self.best))) + self.beam_errors.get(beam, 0)
            )
            for scale, beam in pairs
        ]


@pytest.mark.parametrize("best", SCALES)
@pytest.mark.parametrize("coarse", [True, False])
def test_finds_the_valley_wherever_it_is(best: float, coarse: bool) -> None:
    valley = Valley(best)
    tuning = tune(valley, DecodeConfig(), coarse)
    assert tuning.acoustic_scale == pytest.approx(best)
    assert tuning.beyond_grid == (best in (SCALES[0], SCALES[-1]))
    assert len(tuning.trials) == len(valley.calls)
    assert {whole for _, _, whole in valley.calls} == ({True, False} if coarse else {True})


@pytest.mark.parametrize(("best", "found"), [(0.0125, 0.01302), (1.5, 1.666)])
def test_extends_the_grid_until_the_best_is_inside(best: float, found: float) -> None:
    tuning = tune(Valley(best), DecodeConfig(), False)
    assert tuning.acoustic_scale == pytest.approx(found, rel=1e-3)
    assert tuning.beyond_grid
    assert tuning.to_json()["best_scale_at_edge_of_grid"] is True


def test_scales_are_compared_at_the_largest_beam_and_no_decoding_is_done_twice() -> None:
    valley = Valley(0.1)
    tune(valley, DecodeConfig(), True)
    assert len(set(valley.calls)) == len(valley.calls)
    assert {beam for scale, beam, _ in valley.calls if scale != 0.1} == {max(DecodeConfig().beams)}


@pytest.mark.parametrize(
    ("tolerance", "cost", "beam"),
    [
        (0.5, {9.0: 5, 11.0: 0}, 9.0),
        (0.5, {9.0: 6, 11.0: 5}, 11.0),
        (0.5, {9.0: 9, 11.0: 6}, 13.0),
        (0.0, {9.0: 2, 11.0: 1}, 11.0),  # a single error decides nothing
    ],
)
def test_smallest_beam_within_the_tolerance(tolerance: float, cost: dict[float, int], beam: float) -> None:
    settings = DecodeConfig(beams=[13.0, 9.0, 11.0], beam_tolerance=tolerance)
    assert tune(Valley(0.1, cost), settings, False).beam == beam


def test_one_scale_is_taken_as_given() -> None:
    valley = Valley(0.3)
    tuning = tune(valley, DecodeConfig(acoustic_scales=[0.1], beams=[10.0]), True)
    assert (tuning.acoustic_scale, tuning.beam, tuning.beyond_grid) == (0.1, 10.0, False)
    assert valley.calls == [(0.1, 10.0, True)]


def test_the_coarse_part_is_spread_over_dev() -> None:
    index = FrameIndex.from_lengths([str(n) for n in range(10)], ["s"] * 10, [100] * 10)
    assert coarse_part(index, 1000) is None
    assert coarse_part(index, 400) == [0, 3, 6, 9]


def test_ties_stay_near_the_start() -> None:
    assert walk_down(lambda scales: [7] * len(scales), ScaleGrid(SCALES), 3, 1) == 3


@pytest.mark.parametrize("scales", [[], [0.2, 0.1], [0.0, 0.1], [0.1, 0.1]])
def test_what_is_no_grid_is_refused(scales: list[float]) -> None:
    with pytest.raises(AsrKdError, match="acoustic_scales"):
        tune(Valley(0.1), DecodeConfig(acoustic_scales=scales), False)
    with pytest.raises(AsrKdError, match="beams"):
        tune(Valley(0.1), DecodeConfig(beams=[]), False)
