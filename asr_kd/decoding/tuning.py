"""Acoustic scale and beam, chosen on dev from coarse to fine.

WER is a smooth curve with one valley over the logarithm of the acoustic scale, and decodings at the largest
beam are what tuning costs; so the valley is first found in steps of two grid places on a part of dev, then
walked down in steps of one on all of dev.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from asr_kd.config import DecodeConfig
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.scoring.wer import ErrorCounts

# Where hybrid systems with 10 ms frames mostly end up: successive frames are far from independent.
USUAL_SCALE = 0.1
# Decodes all of dev (True) or its coarse part (False) with pairs (acoustic scale, beam).
Evaluate = Callable[[Sequence[tuple[float, float]], bool], Sequence[ErrorCounts]]
# The errors with each of several acoustic scales.
ErrorsAt = Callable[[Sequence[float]], Sequence[int]]


def coarse_part(index: FrameIndex, frames: float) -> list[int] | None:
    """Places of about so many frames' utterances, spread evenly over dev; none where dev is no larger.

    Utterances lie by speaker, so every n-th one is a share of every speaker's.
    """
    step = math.ceil(index.total_frames / frames)
    return list(range(0, len(index), step)) if step > 1 else None


class ScaleGrid:
    """Acoustic scales in ascending order, continued beyond both ends by the ratio of the outermost two."""

    def __init__(self, scales: Sequence[float]) -> None:
        if not scales or min(scales) <= 0 or sorted(set(scales)) != list(scales):
            raise AsrKdError(
                f"decode.acoustic_scales={list(scales)}: give one or more positive scales in ascending order"
            )
        self.scales = tuple(scales)

    @property
    def start(self) -> int:
        """The place of the scale closest to `USUAL_SCALE`."""
        return min(range(len(self)), key=lambda place: abs(math.log(self.scales[place] / USUAL_SCALE)))

    def __len__(self) -> int:
        return len(self.scales)

    def __getitem__(self, place: int) -> float:
        """The scale at `place`, which may be negative or beyond the last."""
        last = len(self) - 1
        if place < 0:
            return float(f"{self.scales[0] * (self.scales[0] / self.scales[1]) ** -place:.4g}")
        if place > last:
            return float(f"{self.scales[-1] * (self.scales[-1] / self.scales[-2]) ** (place - last):.4g}")
        return self.scales[place]


def walk_down(errors_at: ErrorsAt, grid: ScaleGrid, start: int, step: int) -> int:
    """The place of the grid, in steps from `start`, whose two neighbours have no fewer errors.

    The walk leaves the grid where the errors still fall there. Ties go to the place nearest to `start`.
    """
    errors: dict[int, int] = {}
    best = start
    while unknown := [place for place in (best - step, best, best + step) if place not in errors]:
        errors.update(zip(unknown, errors_at([grid[place] for place in unknown]), strict=True))
        best = min(errors, key=lambda place: (errors[place], abs(place - start), place))
    return best


@dataclass(frozen=True)
class Trial:
    """One decoding of dev, or of its coarse part."""

    acoustic_scale: float
    beam: float
    whole: bool
    counts: ErrorCounts

    def to_json(self) -> dict[str, Any]:
        """For ``tuning.json``."""
        return {
            "acoustic_scale": self.acoustic_scale,
            "beam": self.beam,
            "dev": "all" if self.whole else "coarse part",
            "wer": self.counts.wer,
            "errors": self.counts.errors,
            "words": self.counts.words,
        }


@dataclass
class Tuning:
    """What was chosen, and from what.

    Attributes:
        acoustic_scale: with the fewest errors on all of dev at the largest beam.
        beam: the smallest within the tolerance of the largest.
        beyond_grid: whether the walk had to leave the configured grid, i.e. the best scale of the grid lay
            at its edge.
        trials: every decoding, in the order in which it was done.
    """

    acoustic_scale: float = 0.0
    beam: float = 0.0
    beyond_grid: bool = False
    trials: list[Trial] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For ``tuning.json``."""
        return {
            "acoustic_scale": self.acoustic_scale,
            "beam": self.beam,
            "best_scale_at_edge_of_grid": self.beyond_grid,
            "trials": [trial.to_json() for trial in self.trials],
        }


def tune(evaluate: Evaluate, settings: DecodeConfig, coarse: bool) -> Tuning:
    """Choose acoustic scale and beam.

    Args:
        evaluate: decodes dev.
        settings: grid of scales, beams and tolerance. A grid of a single scale is not tuned, nor left.
        coarse: whether there is a part of dev for coarse steps; if not, only fine ones are taken.

    Raises:
        AsrKdError: the settings are no grid.
    """
    if not settings.beams:
        raise AsrKdError("decode.beams is empty: give at least one beam")
    grid, beams = ScaleGrid(settings.acoustic_scales), sorted(settings.beams)
    tuning = Tuning()

    def try_scales(scales: Sequence[float], beam: float, whole: bool) -> list[ErrorCounts]:
        counts = list(evaluate([(scale, beam) for scale in scales], whole))
        pairs = zip(scales, counts, strict=True)
        tuning.trials += [Trial(scale, beam, whole, count) for scale, count in pairs]
        return counts

    def errors_at(whole: bool) -> ErrorsAt:
        return lambda scales: [count.errors for count in try_scales(scales, beams[-1], whole)]

    place = grid.start
    if len(grid) > 1:
        if coarse:
            place = walk_down(errors_at(False), grid, place, step=2)
        place = walk_down(errors_at(True), grid, place, step=1)
    tuning.acoustic_scale = grid[place]
    tuning.beyond_grid = len(grid) > 1 and not 0 < place < len(grid) - 1
    tuning.beam = _smallest_beam(
        lambda beam: try_scales([tuning.acoustic_scale], beam, True)[0],
        tuning,
        beams,
        settings.beam_tolerance,
    )
    return tuning


def _smallest_beam(
    counts_at: Callable[[float], ErrorCounts], tuning: Tuning, beams: Sequence[float], tolerance: float
) -> float:
    """The smallest beam whose WER, at the chosen scale, is at most `tolerance` points above the largest's.

    One error more is always tolerated: on a small dev it is more than the tolerance, and decides nothing.
    """
    known = {
        trial.beam: trial.counts
        for trial in tuning.trials
        if trial.whole and trial.acoustic_scale == tuning.acoustic_scale
    }
    largest = known[beams[-1]] if beams[-1] in known else counts_at(beams[-1])
    allowed = largest.errors + max(1.0, tolerance / 100 * largest.words)
    for beam in beams[:-1]:
        if counts_at(beam).errors <= allowed:
            return beam
    return beams[-1]
