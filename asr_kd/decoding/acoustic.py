"""Scores of frames for the search, computed once a part and system, in worker processes.

They are stored as float16 with the best senone of every frame at 0: a constant a frame changes no search,
and close to 0, where the search decides, float16 is finer than 0.001.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from asr_kd.decoding.decode import split_utterances
from asr_kd.decoding.network import NETWORK_FILE, OnnxNetwork
from asr_kd.decoding.systems import System
from asr_kd.distillation.teachers import LoadedTeachers, Teachers
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.frames import FrameIndex, create_frames, open_frames
from asr_kd.jobs import WorkerPool
from asr_kd.models.metrics import FrameMetrics, frame_metrics

# A senone rarer than this would turn the slightest posterior into a likelihood.
PRIOR_FLOOR = 1e-6
# As low as a score is kept: no beam reaches it, and float16 holds it.
LOWEST_SCORE = -30_000.0
_ITEM_FRAMES = 6_000  # of one piece of work


@dataclass(frozen=True)
class PartQuality:
    """How well the frames of a part were classified, by its labels.

    Attributes:
        utterances: the metrics of each, in the order of the part's index.
        confused: how often each pair (label, most probable senone) occurs that differs.
    """

    utterances: tuple[FrameMetrics, ...]
    confused: Counter[tuple[int, int]]

    @property
    def total(self) -> FrameMetrics:
        """Of all utterances."""
        return reduce(FrameMetrics.plus, self.utterances, FrameMetrics(0, 0.0, 0))


class Scorer(Protocol):
    """A loaded system.

    Attributes:
        parameter_count: of all its models.
    """

    parameter_count: int

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """One utterance's scores and log posteriors, each ``(frames, senones)`` float32.

        Args:
            fbank: ``(frames, mel_bins)`` float16, normalised.
            mfcc: ``(frames, cepstra)`` float32.
        """
        ...


class NetworkScorer:
    """One network, or several whose posteriors are averaged before the priors are divided out.

    Score: log posterior - log prior, the log likelihood up to a constant a frame (Bourlard and Morgan,
    "Connectionist Speech Recognition", 1994).
    """

    def __init__(self, system: System, log_priors: np.ndarray, device: str) -> None:
        several = 1 if system.kind == "specialists" else len(system.models)
        teachers = Teachers(
            system.models[:several],
            system.mappings or (None,) * several,
            len(log_priors),
            system.average,
            system.weights,
            system.precision,
            system.models[several:],
            system.top,
        )
        self._networks = LoadedTeachers(teachers, device)
        self._log_priors = log_priors
        self.parameter_count = self._networks.parameter_count

    def posteriors(self, fbank: np.ndarray) -> torch.Tensor:
        """Log posteriors ``(frames, senones)`` float32 on the CPU."""
        return self._networks.mean(fbank).cpu()

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """See `Scorer`."""
        posteriors = self.posteriors(fbank)
        return posteriors.numpy() - self._log_priors, posteriors


class OnnxScorer:
    """An exported network; scores as of `NetworkScorer`."""

    def __init__(self, system: System, log_priors: np.ndarray, threads: int = 1) -> None:
        self._network = OnnxNetwork(system.models[0] / NETWORK_FILE, threads)
        check_senones(system, self._network.senones, log_priors)
        self._log_priors = log_priors
        self.parameter_count = self._network.parameters

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """See `Scorer`."""
        posteriors = self._network.log_posteriors(fbank)
        return posteriors - self._log_priors, torch.from_numpy(posteriors)


class GmmScorer:
    """The alignment model. Score: log likelihood; posteriors by Bayes' rule with the senone priors."""

    def __init__(self, system: System, log_priors: np.ndarray) -> None:
        from asr_kd.hmm import GmmHmm  # here: workers that score with networks need no Kaldi

        self._model = GmmHmm.load(system.models[0])
        check_senones(system, self._model.senones, log_priors)
        self._log_priors = log_priors
        self.parameter_count = self._model.densities.parameters

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """See `Scorer`."""
        likelihoods = self._model.log_likelihoods(mfcc)
        return likelihoods, torch.from_numpy(likelihoods + self._log_priors).log_softmax(dim=1)


def load_scorer(system: System, labels: Path, device: str, threads: int = 1) -> Scorer:
    """Load a system's models.

    Args:
        system: what scores.
        labels: the folder with ``priors.npy``.
        device: of networks in torch.
        threads: of exported networks; those in torch have the process' own.

    Raises:
        AsrKdError: a model is missing or damaged, or has other senones than the priors.
    """
    log_priors = read_log_priors(labels)
    if system.kind == "gmm":
        return GmmScorer(system, log_priors)
    if system.kind == "int8":
        return OnnxScorer(system, log_priors, threads)
    return NetworkScorer(system, log_priors, device)


def check_senones(system: System, senones: int, log_priors: np.ndarray) -> None:
    """Refuse a system whose senones are not those of the priors."""
    if senones != len(log_priors):
        raise AsrKdError(
            f"{system.name} knows {senones} senones, but the labels have {len(log_priors)}: it was trained "
            "on other labels; run its stage again"
        )


def read_log_priors(labels: Path) -> np.ndarray:
    """Log priors ``(senones,)`` float32 of ``priors.npy`` in folder `labels`, floored at `PRIOR_FLOOR`."""
    priors = np.load(labels / "priors.npy", allow_pickle=False)
    floored: np.ndarray = np.log(np.maximum(priors, PRIOR_FLOOR)).astype(np.float32)
    return floored


def score_part(
    pool: WorkerPool, system: System, features: Path, labels: Path, output: Path, device: str = "cpu"
) -> PartQuality:
    """Score every frame of a part and write ``(frames, senones)`` float16 to `output`.

    Args:
        pool: where the work is done; its workers keep the system's models.
        system: what scores.
        features: the part's folder of features; its name is the part's.
        labels: the folder with ``<part>.npy`` and ``priors.npy``.
        output: the ``.npy`` file to write.
        device: "cpu", "cuda" or, of several GPUs, e.g. "cuda:1".

    Returns:
        How well frames were classified, by the labels.

    Raises:
        AsrKdError: the system's senones are not those of the priors, or its scores are not numbers.
    """
    index = FrameIndex.load(features)
    create_frames(output, index.total_frames, (len(read_log_priors(labels)),), np.float16)
    items = [
        _Item(system, features, labels, output, device, tuple(places))
        for places in split_utterances(index, range(len(index)), _ITEM_FRAMES)
    ]
    results = pool.map(_score_utterances, items, f"{system.name}: scoring {features.name}")
    # In the order of the utterances, whichever worker was first.
    pieces = [quality for _, quality in sorted(results, key=lambda result: result[0])]
    return PartQuality(
        tuple(metrics for quality in pieces for metrics in quality.utterances),
        sum((quality.confused for quality in pieces), Counter()),
    )


@dataclass(frozen=True)
class _Item:
    """A piece of work: some utterances of a part."""

    system: System
    features: Path
    labels: Path
    output: Path
    device: str
    places: tuple[int, ...]


@lru_cache(maxsize=1)
def _loaded_scorer(system: System, labels: Path, device: str) -> Scorer:
    torch.set_num_threads(1)
    return load_scorer(system, labels, device)


def _score_utterances(item: _Item) -> PartQuality:
    """Write the utterances' rows of the output."""
    part = open_part(item.features)
    labels = open_frames(item.labels / f"{item.features.name}.npy", part.index)
    output = open_frames(item.output, part.index, writable=True)
    scorer = _loaded_scorer(item.system, item.labels, item.device)
    metrics: list[FrameMetrics] = []
    confused: Counter[tuple[int, int]] = Counter()
    for place in item.places:
        span = part.index.span(place)
        scores, posteriors = scorer(part.fbank[span], part.mfcc[span])
        if not np.isfinite(scores).all():
            raise AsrKdError(
                f"{item.system.name}, utterance {part.index.ids[place]}: scores that are not finite numbers; "
                "the model has diverged: train it again"
            )
        output[span] = np.maximum(scores - scores.max(axis=1, keepdims=True), LOWEST_SCORE)
        metrics.append(frame_metrics(posteriors, labels[span]))
        found, label = posteriors.argmax(dim=1).numpy(), labels[span]
        wrong = (label >= 0) & (found != label)
        confused.update(zip(label[wrong].tolist(), found[wrong].tolist(), strict=True))
    return PartQuality(tuple(metrics), confused)
