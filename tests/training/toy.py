"""A small classification task in the shape of speech, learnable in a second."""

import numpy as np

from asr_kd.frames import FrameIndex
from asr_kd.training.data import FrameData, PerFrame, labelled

SENONES = 5
DIMS = 6
SMALL_DNN = {
    "kind": "dnn",
    "hidden_layers": 1,
    "hidden_units": 24,
    "left_context": 2,
    "right_context": 1,
    "dropout": 0.1,
}
SMALL_TDNN = {
    "kind": "tdnn",
    "channels": 16,
    "kernel_sizes": [3, 3],
    "dilations": [1, 2],
    "dropout": 0.1,
    "chunk_frames": 8,
}


def toy_data(utterances: int = 12, seed: int = 0, failed: int = 0) -> FrameData:
    """Each senone has a mean of its own; the first `failed` utterances have no labels."""
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 40, size=utterances)
    ids = [f"utterance-{number}" for number in range(utterances)]
    index = FrameIndex.from_lengths(
        ids, [f"speaker-{number % 4}" for number in range(utterances)], lengths.tolist()
    )
    means = np.random.default_rng(99).normal(size=(SENONES, DIMS))
    labels = np.repeat(random.integers(SENONES, size=index.total_frames // 3 + 1), 3)[: index.total_frames]
    features = means[labels] + random.normal(scale=0.7, size=(index.total_frames, DIMS))
    labels = labels.astype(np.int32)
    for place in range(failed):
        labels[index.span(place)] = -1
    return FrameData(
        PerFrame(index, features.astype(np.float16)),
        {"labels": PerFrame(index, labels)},
        labelled(PerFrame(index, labels)),
    )
