"""A corpus whose frames are given with their labels: nothing to extract, to align or to decode."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class GivenFrames:
    """One part of such a corpus.

    Attributes:
        ids: of the utterances, which may be single frames.
        lengths: frames of each.
        features: ``(frames, dims)`` float16, utterances end to end.
        labels: ``(frames,)`` int32.
        classes: how many there are.
    """

    ids: tuple[str, ...]
    lengths: tuple[int, ...]
    features: np.ndarray
    labels: np.ndarray
    classes: int
