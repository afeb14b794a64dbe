"""Acoustic scale and beam, chosen on dev.

WER is a smooth curve with one valley over the logarithm of the acoustic scale, and decodings at the largest
beam are what tuning costs: so the valley is walked down from the usual scale, instead of decoding with the
whole grid, and of a large dev part only a share of every speaker is used. Near its bottom the valley is flat,
and a few errors decide which trial is the best one; the bottom of the parabola through that trial and its
neighbours moves little when they change, and is what is taken.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asr_kd.config import DecodeConfig
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.scoring.wer import ErrorCounts

# Where hybrid systems with 10 ms frames mostly end up: successive frames are far from independent.
USUAL_SCALE = 0.1
# Decodes the tuning part with pairs (acoustic scale, beam).
Evaluate = Callable[[Sequence[tuple[float, float]]], Sequence[ErrorCounts]]


def tuning_part(index: FrameIndex, frames: float) -> list[int]:
    """Places of utterances of about so many frames, spread evenly over dev; all where dev is no larger.

    Utterances lie by speaker, so every n-th one is a share of every speaker's.
    """
    return list(range(0, len(index), max(1, math.ceil(index.total_frames / frames))))


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


def walk_down(errors_at: Callable[[Sequence[float]], Sequence[int]], grid: ScaleGrid) -> int:
    """The place of the grid, walking from its start, whose two neighbours have no fewer errors.

    The walk leaves the grid where the errors still fall there. Ties go to the place nearest to the start.

    Args:
        errors_at: the errors with each of some scales.
        grid: where to walk.
    """
    errors: dict[int, int] = {}
    best = grid.start
    while unknown := [place for place in (best - 1, best, best + 1) if place not in errors]:
        errors.update(zip(unknown, errors_at([grid[place] for place in unknown]), strict=True))
        best = min(errors, key=lambda place: (errors[place], abs(place - grid.start), place))
    return best


def bottom(scales: Sequence[float], errors: Sequence[int]) -> float:
    """The scale with the fewest errors on the parabola through three trials, over the logarithm of the scale.

    Args:
        scales: ascending.
        errors: of each; those of the middle one are not more than those of the others.

    Returns:
        The scale to two digits, or the middle one where all have the same errors.
    """
    if len(set(errors)) == 1:
        return scales[1]
    places = np.log(np.asarray(scales) / scales[1])
    bend, slope, _ = np.polyfit(places, errors, 2)
    return float(f"{scales[1] * math.exp(-slope / (2 * bend)):.2g}")


@dataclass(frozen=True)
class Trial:
    """One decoding of the tuning part."""

    acoustic_scale: float
    beam: float
    counts: ErrorCounts

    def to_json(self) -> dict[str, Any]:
        """For ``tuning.json``."""
        return {
            "acoustic_scale": self.acoustic_scale,
            "beam": self.beam,
            "wer": self.counts.wer,
            "errors": self.counts.errors,
            "words": self.counts.words,
        }


@dataclass
class Tuning:
    """What was chosen, and from what.

    Attributes:
        acoustic_scale: with the fewest errors at the largest beam, see `bottom`.
        beam: the smallest within the tolerance of the largest.
        at_edge: whether the best scale lies at the edge of the configured grid or beyond it.
        trials: every decoding, in the order in which it was done.
    """

    acoustic_scale: float = 0.0
    beam: float = 0.0
    at_edge: bool = False
    trials: list[Trial] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For ``tuning.json``."""
        return {
            "acoustic_scale": self.acoustic_scale,
            "beam": self.beam,
            "best_scale_at_edge_of_grid": self.at_edge,
            "trials": [trial.to_json() for trial in self.trials],
        }


def tune(evaluate: Evaluate, settings: DecodeConfig) -> Tuning:
    """Choose the acoustic scale at the largest beam, then the smallest beam that costs hardly any words.

    Args:
        evaluate: decodes the tuning part.
        settings: grid of scales, beams and tolerance. A grid of a single scale is not tuned, nor left.

    Raises:
        AsrKdError: the settings are no grid.
    """
    if settings.tuning_seconds <= 0:
        raise AsrKdError(f"decode.tuning_seconds={settings.tuning_seconds}: give a positive length")
    if not settings.beams:
        raise AsrKdError("decode.beams is empty: give at least one beam")
    grid, beams = ScaleGrid(settings.acoustic_scales), sorted(settings.beams)
    tuning = Tuning()

    def counts_at(scales: Sequence[float], beam: float) -> list[ErrorCounts]:
        counts = list(evaluate([(scale, beam) for scale in scales]))
        tuning.trials += [Trial(scale, beam, count) for scale, count in zip(scales, counts, strict=True)]
        return counts

    if len(grid) > 1:
        place = walk_down(lambda scales: [count.errors for count in counts_at(scales, beams[-1])], grid)
        tuning.at_edge = not 0 < place < len(grid) - 1
        around = [grid[place + step] for step in (-1, 0, 1)]
        errors = {trial.acoustic_scale: trial.counts.errors for trial in tuning.trials}
        tuning.acoustic_scale = bottom(around, [errors[scale] for scale in around])
    else:
        tuning.acoustic_scale = grid[0]
    tried = {trial.acoustic_scale: trial.counts for trial in tuning.trials}
    largest = tried.get(tuning.acoustic_scale) or counts_at([tuning.acoustic_scale], beams[-1])[0]
    allowed = largest.errors + settings.beam_tolerance / 100 * largest.words
    tuning.beam = next(
        (beam for beam in beams[:-1] if counts_at([tuning.acoustic_scale], beam)[0].errors <= allowed),
        beams[-1],
    )
    return tuning
