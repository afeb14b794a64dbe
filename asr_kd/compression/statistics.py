"""What a recogniser must know about the training speakers (see `runtime.normalise`)."""

from collections.abc import Sequence

import numpy as np

from asr_kd.corpus.manifest import Utterance
from asr_kd.features.extract import Extraction, load_waveform, make_backend
from asr_kd.features.normalise import Statistics
from asr_kd.features.store import Part
from asr_kd.runtime.normalise import TrainingStatistics


def training_statistics(
    utterances: Sequence[Utterance], extraction: Extraction, part: Part, labels: np.ndarray, senones: int
) -> TrainingStatistics:
    """The statistics of the training part.

    Args:
        utterances: whose audio gives mean and deviation before normalisation: a share of every speaker's.
        extraction: how their features are made.
        part: the normalised features of the whole part.
        labels: ``(frames,)`` int32 of the same, -1 where there is none.
        senones: classes.
    """
    mean, deviation = _of_speakers(utterances, extraction)
    counts = np.zeros((senones, 1))
    sums, squares = np.zeros((senones, part.fbank.shape[1])), np.zeros((senones, part.fbank.shape[1]))
    for _, span in part.index.spans():
        own = np.asarray(labels[span])
        features, own = np.asarray(part.fbank[span], np.float64)[own >= 0], own[own >= 0]
        np.add.at(counts, own, 1.0)
        np.add.at(sums, own, features)
        np.add.at(squares, own, np.square(features))
    # A senone that never occurs is never probable either: as if it were any sound.
    seen = np.maximum(counts, 1.0)
    return TrainingStatistics(mean, deviation, sums / seen, np.where(counts > 0, squares / seen, 1.0))


def _of_speakers(utterances: Sequence[Utterance], extraction: Extraction) -> tuple[np.ndarray, np.ndarray]:
    """Mean over all frames, and deviation of each speaker's from that speaker's mean; ``(dims,)`` each."""
    backend = make_backend(extraction)
    speakers: dict[str, list[Statistics]] = {}
    for utterance in utterances:
        fbank, _ = backend.compute([load_waveform(utterance, extraction)])
        speakers.setdefault(utterance.speaker, []).append(Statistics.of(fbank))
    merged = [Statistics.merged(known) for known in speakers.values()]
    frames = sum(own.frames for own in merged)
    mean = sum(own.total for own in merged) / frames
    variance = sum(own.frames * np.square(own.deviation) for own in merged) / frames
    return np.asarray(mean), np.sqrt(np.asarray(variance))
