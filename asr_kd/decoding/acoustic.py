"""Scores of frames for the search, computed once a part and system, in worker processes.

They are stored as float16 with the best senone of every frame at 0: a constant a frame changes no search,
and close to 0, where the search decides, float16 is finer than 0.001.
"""

from dataclasses import dataclass
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
from asr_kd.hmm import GmmHmm
from asr_kd.jobs import map_processes
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from asr_kd.training.metrics import frame_metrics

# A senone rarer than this would turn the slightest posterior into a likelihood.
PRIOR_FLOOR = 1e-6
# As low as a score is kept: no beam reaches it, and float16 holds it.
LOWEST_SCORE = -30_000.0
_ITEM_FRAMES = 6_000  # of one piece of work


class Scorer(Protocol):
    """A loaded system."""

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
        self._models = [load_model(folder).eval().to(device) for folder in system.models]
        self._average, self._log_priors, self._device = system.average, log_priors, device

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
        self._model = GmmHmm.load(folder)
        self._log_priors = log_priors

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


@dataclass(frozen=True)
class FrameQuality:
    """How well frames were classified.

    Attributes:
        frames: with a label.
        correct: whose best senone is the label.
        cross_entropy: sum over frames of minus the label's log posterior, natural logarithm.
    """

    frames: int = 0
    correct: int = 0
    cross_entropy: float = 0.0

    def __add__(self, other: "FrameQuality") -> "FrameQuality":
        return FrameQuality(
            self.frames + other.frames,
            self.correct + other.correct,
            self.cross_entropy + other.cross_entropy,
        )


def score_part(
    system: System, features: Path, labels: Path, output: Path, workers: int, device: str = "cpu"
) -> FrameQuality:
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
    return sum((quality for _, quality in sorted(results)), FrameQuality())


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


def _score_utterances(places: list[int]) -> FrameQuality:
    assert _worker is not None
    return sum((_score_utterance(_worker, place) for place in places), FrameQuality())


def _score_utterance(worker: _Worker, place: int) -> FrameQuality:
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
    labels = torch.from_numpy(np.array(worker.labels[span]))
    correct, cross_entropy, counted = frame_metrics(posteriors, labels)
    return FrameQuality(int(counted), int(correct), float(cross_entropy))
