"""Maximum-likelihood training of diagonal Gaussian mixtures: statistics, update, splitting."""

import heapq
from dataclasses import dataclass

import numpy as np

from asr_kd.hmm.gmm import DiagonalGmms

# As Kaldi's gmm-est: Gaussians that fewer frames than this support are removed.
MIN_OCCUPANCY = 10.0
MIN_WEIGHT = 1e-5
VARIANCE_FLOOR = 1e-3
# Mixtures grow with occupancy to this power, up to one Gaussian for so many frames (Kaldi's train_mono.sh).
SPLIT_POWER = 0.25
MIN_FRAMES_A_GAUSSIAN = 20.0
# Halves of a split Gaussian part by this many standard deviations.
PERTURBATION = 0.1


@dataclass
class GmmStatistics:
    """Sufficient statistics of expectation-maximisation.

    Attributes:
        occupancy: ``(gaussians,)`` float64, frames.
        first: ``(gaussians, dims)`` float64, sums of features.
        second: ``(gaussians, dims)`` float64, sums of squared features.
        log_likelihood: of all frames.
        frames: how many frames there were.
    """

    occupancy: np.ndarray
    first: np.ndarray
    second: np.ndarray
    log_likelihood: float = 0.0
    frames: int = 0

    @classmethod
    def zeros(cls, gaussians: int, dims: int) -> "GmmStatistics":
        """Statistics of no frames."""
        return cls(np.zeros(gaussians), np.zeros((gaussians, dims)), np.zeros((gaussians, dims)))

    def add(self, other: "GmmStatistics") -> None:
        """Add the statistics of other frames."""
        self.occupancy += other.occupancy
        self.first += other.first
        self.second += other.second
        self.log_likelihood += other.log_likelihood
        self.frames += other.frames


def accumulate(gmms: DiagonalGmms, features: np.ndarray, pdfs: np.ndarray) -> GmmStatistics:
    """Statistics of frames whose pdf is known.

    Args:
        gmms: the current mixtures.
        features: ``(frames, dims)`` float32.
        pdfs: ``(frames,)`` int, the pdf of each frame; frames of pdf -1 do not count.
    """
    statistics = GmmStatistics.zeros(len(gmms.weights), features.shape[1])
    for gaussians, rows, posteriors, log_likelihood in gmms.responsibilities(features, pdfs):
        wide = features[rows].astype(np.float64)
        statistics.occupancy[gaussians] = posteriors.sum(axis=1)
        statistics.first[gaussians] = posteriors @ wide
        statistics.second[gaussians] = posteriors @ (wide * wide)
        statistics.log_likelihood += log_likelihood
        statistics.frames += len(rows)
    return statistics


def update(gmms: DiagonalGmms, statistics: GmmStatistics) -> DiagonalGmms:
    """The mixtures that maximise the likelihood given these statistics (Kaldi's ``gmm-est``).

    A Gaussian with too little support is removed; the best supported one of a pdf always stays, and keeps
    its old parameters if it, too, saw too few frames.
    """
    owners = gmms.owners
    supported = statistics.occupancy >= MIN_OCCUPANCY
    keep = supported.copy()
    keep[_best_of_each(gmms, statistics.occupancy)] = True
    occupancy = np.maximum(statistics.occupancy, 1e-10)[:, None]
    means = statistics.first / occupancy
    variances = np.maximum(statistics.second / occupancy - means**2, VARIANCE_FLOOR)
    means = np.where(supported[:, None], means, gmms.means)[keep]
    variances = np.where(supported[:, None], variances, gmms.variances)[keep]
    weights = np.maximum(statistics.occupancy, MIN_OCCUPANCY)[keep]
    weights = np.maximum(weights / np.bincount(owners[keep], weights, gmms.pdfs)[owners[keep]], MIN_WEIGHT)
    weights /= np.bincount(owners[keep], weights, gmms.pdfs)[owners[keep]]
    sizes = np.bincount(owners[keep], minlength=gmms.pdfs)
    return DiagonalGmms(np.concatenate([[0], np.cumsum(sizes)]), weights, means, variances)


def _best_of_each(gmms: DiagonalGmms, occupancy: np.ndarray) -> list[int]:
    return [
        int(begin + np.argmax(occupancy[begin:end]))
        for begin, end in zip(gmms.offsets[:-1], gmms.offsets[1:], strict=True)
    ]


def split_targets(occupancies: np.ndarray, gaussians: int) -> np.ndarray:
    """How many Gaussians each pdf should have, so that all together have at most `gaussians`.

    One after another goes to the pdf with the largest ``occupancy ** 0.25 / its Gaussians`` that still
    has frames for one more (Kaldi's ``GetSplitTargets``).

    Args:
        occupancies: ``(pdfs,)`` frames.
        gaussians: the total.

    Returns:
        ``(pdfs,)`` int64, each at least 1.
    """
    targets = np.ones(len(occupancies), dtype=np.int64)
    strengths = np.asarray(occupancies, dtype=np.float64) ** SPLIT_POWER
    heap = [(-strength, pdf) for pdf, strength in enumerate(strengths)]
    heapq.heapify(heap)
    remaining = gaussians - len(targets)
    while remaining > 0 and heap:
        _, pdf = heapq.heappop(heap)
        if (targets[pdf] + 1) * MIN_FRAMES_A_GAUSSIAN > occupancies[pdf]:
            continue
        targets[pdf] += 1
        remaining -= 1
        heapq.heappush(heap, (-strengths[pdf] / targets[pdf], pdf))
    return targets


def split(gmms: DiagonalGmms, targets: np.ndarray, random: np.random.Generator) -> DiagonalGmms:
    """Split the heaviest Gaussians of each pdf until it has `targets[pdf]` of them (never fewer than now).

    The two halves share the weight and are moved apart along a random direction in units of the standard
    deviation (Kaldi's ``DiagGmm::Split``).
    """
    weights, means, variances = [], [], []
    for pdf, target in enumerate(targets):
        own = slice(int(gmms.offsets[pdf]), int(gmms.offsets[pdf + 1]))
        own_weights, own_means = list(gmms.weights[own]), list(gmms.means[own])
        own_variances = list(gmms.variances[own])
        while len(own_weights) < target:
            heaviest = int(np.argmax(own_weights))
            own_weights[heaviest] /= 2
            own_weights.append(own_weights[heaviest])
            step = PERTURBATION * np.sqrt(own_variances[heaviest]) * random.standard_normal(gmms.dims)
            own_means.append(own_means[heaviest] - step)
            own_means[heaviest] = own_means[heaviest] + step
            own_variances.append(own_variances[heaviest])
        weights.append(np.array(own_weights))
        means.append(np.stack(own_means))
        variances.append(np.stack(own_variances))
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in weights])])
    return DiagonalGmms(offsets, np.concatenate(weights), np.concatenate(means), np.concatenate(variances))
