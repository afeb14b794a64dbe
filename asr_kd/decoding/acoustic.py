"""Scores of frames for the search, computed once a part and system, in worker processes.

They are stored as float16 with the best senone of every frame at 0: a constant a frame changes no search,
and close to 0, where the search decides, float16 is finer than 0.001.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from asr_kd.decoding.decode import split_utterances
from asr_kd.decoding.systems import System
from asr_kd.distillation.ensemble import average
from asr_kd.errors import AsrKdError
from asr_kd.features.store import Part, open_part
from asr_kd.frames import FrameIndex, create_frames, open_frames
from asr_kd.jobs import map_processes
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.training.metrics import FrameMetrics, frame_metrics

# A senone rarer than this would turn the slightest posterior into a likelihood.
PRIOR_FLOOR = 1e-6
# As low as a score is kept: no beam reaches it, and float16 holds it.
LOWEST_SCORE = -30_000.0
_ITEM_FRAMES = 6_000  # of one piece of work


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
        self._models = [load_model(folder, device) for folder in system.models]
        self._average, self._log_priors, self._device = system.average, log_priors, device
        self.parameter_count = sum(model.parameter_count for model in self._models)

    def posteriors(self, fbank: np.ndarray) -> torch.Tensor:
        """Log posteriors ``(frames, senones)`` float32 on the CPU."""
        each = [log_posteriors(model, fbank, self._device).cpu() for model in self._models]
        return each[0] if len(each) == 1 else average(each, self._average)

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """See `Scorer`."""
        posteriors = self.posteriors(fbank)
        return posteriors.numpy() - self._log_priors, posteriors


class GmmScorer:
    """The alignment model. Score: log likelihood; posteriors by Bayes' rule with the senone priors."""

    def __init__(self, folder: Path, log_priors: np.ndarray) -> None:
        from asr_kd.hmm import GmmHmm  # here: workers that score with networks need no Kaldi

        self._model = GmmHmm.load(folder)
        self._log_priors = log_priors
        self.parameter_count: int = self._model.parameter_count

    def __call__(self, fbank: np.ndarray, mfcc: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
        """See `Scorer`."""
        likelihoods = self._model.log_likelihoods(mfcc)
        return likelihoods, torch.from_numpy(likelihoods + self._log_priors).log_softmax(dim=1)


def load_scorer(system: System, labels: Path, device: str) -> Scorer:
    """Load a system's models; `labels` is the folder with ``priors.npy``."""
    log_priors = read_log_priors(labels)
    if system.kind == "gmm":
        return GmmScorer(system.models[0], log_priors)
    return NetworkScorer(system, log_priors, device)


def read_log_priors(labels: Path) -> np.ndarray:
    """Log priors ``(senones,)`` float32 of ``priors.npy`` in folder `labels`, floored at `PRIOR_FLOOR`."""
    priors = np.load(labels / "priors.npy", allow_pickle=False)
    floored: np.ndarray = np.log(np.maximum(priors, PRIOR_FLOOR)).astype(np.float32)
    return floored


def score_part(
    system: System, features: Path, labels: Path, output: Path, workers: int, device: str = "cpu"
) -> FrameMetrics:
    """Score every frame of a part and write ``(frames, senones)`` float16 to `output`.

    Args:
        system: what scores.
        features: the part's folder of features; its name is the part's.
        labels: the folder with ``<part>.npy`` and ``priors.npy``.
        output: the ``.npy`` file to write.
        workers: processes; with a GPU one is used.
        device: "cpu" or "cuda".

    Raises:
        AsrKdError: the system's senones are not those of the priors, or its scores are not numbers.
    """
    index = FrameIndex.load(features)
    create_frames(output, index.total_frames, (len(read_log_priors(labels)),), np.float16)
    results = map_processes(
        _score_utterances,
        split_utterances(index, range(len(index)), _ITEM_FRAMES),
        workers if device == "cpu" else 1,
        f"{system.name}: scoring {features.name}",
        initializer=_start_worker,
        initargs=(system, features, labels, output, device),
    )
    # Summed in the order of the utterances: the same bytes whichever worker was first.
    return _sum(metrics for _, metrics in sorted(results))


@dataclass(frozen=True, eq=False)
class _Worker:
    """What a worker process holds from its first to its last piece of work."""

    name: str
    scorer: Scorer
    part: Part
    labels: np.ndarray
    output: np.ndarray


_worker: _Worker | None = None


def _start_worker(system: System, features: Path, labels: Path, output: Path, device: str) -> None:
    global _worker  # noqa: PLW0603 - how an initializer hands over to the function of a process pool
    torch.set_num_threads(1)
    part = open_part(features)
    _worker = _Worker(
        system.name,
        load_scorer(system, labels, device),
        part,
        open_frames(labels / f"{features.name}.npy", part.index),
        open_frames(output, part.index, writable=True),
    )


def _score_utterances(places: list[int]) -> FrameMetrics:
    assert _worker is not None
    worker = _worker
    return _sum(_score_utterance(worker, place) for place in places)


def _score_utterance(worker: _Worker, place: int) -> FrameMetrics:
    """Write one utterance's rows of the output."""
    span = worker.part.index.span(place)
    scores, posteriors = worker.scorer(worker.part.fbank[span], worker.part.mfcc[span])
    where = f"{worker.name}, utterance {worker.part.index.ids[place]}"
    if scores.shape != worker.output[span].shape:
        raise AsrKdError(
            f"{where}: scores of shape {scores.shape} where {worker.output[span].shape} (frames, senones) "
            "are needed: the model was trained on other labels; run its stage again"
        )
    if not np.isfinite(scores).all():
        raise AsrKdError(
            f"{where}: scores that are not finite numbers; the model has diverged: train it again"
        )
    worker.output[span] = np.maximum(scores - scores.max(axis=1, keepdims=True), LOWEST_SCORE)
    return frame_metrics(posteriors, worker.labels[span])


def _sum(metrics: Iterable[FrameMetrics]) -> FrameMetrics:
    return reduce(FrameMetrics.plus, metrics, FrameMetrics(0, 0.0, 0))
