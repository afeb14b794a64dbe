"""A tiny language with tiny speech: phones are Gaussians, so that the true labels are known."""

from dataclasses import dataclass

import numpy as np

from asr_kd.config.schema import GmmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.frames import FrameIndex

DIMS = 4
# No word begins with a phone that a word ends with: words can be told apart without pauses.
LEXICON = Lexicon.from_mapping(
    {
        "ONE": [["A", "B"]],
        "TWO": [["C", "D", "B"]],
        "THREE": [["C", "D"], ["A", "D"]],
        "TO": [["A", "C", "D"]],
    }
)
CONFIG = GmmConfig(
    monophone_passes=8,
    monophone_gaussians=40,
    triphone_passes=5,
    leaves=26,
    gaussians=60,
    dimensions=10,
    silence_probability=0.5,
)


@dataclass
class Toy:
    """A corpus; `phones` names the true phone of every frame."""

    index: FrameIndex
    mfcc: np.ndarray
    transcripts: dict[str, list[str]]
    phones: np.ndarray


def toy_corpus(utterances: int = 60, seed: int = 0) -> Toy:
    """Utterances of two or three words between stretches of silence, six to nine frames a phone."""
    random = np.random.default_rng(seed)
    means = {
        phone: 4.0 * np.random.default_rng(place).standard_normal(DIMS) for place, phone in enumerate("ABCD")
    }
    means["SIL"] = np.zeros(DIMS)
    ids, frames, truth, transcripts = [], [], [], {}
    for number in range(utterances):
        words = [str(word) for word in random.choice(sorted(LEXICON.entries), random.integers(2, 4))]
        phones = ["SIL"]
        for word in words:
            phones += LEXICON.entries[word][random.integers(len(LEXICON.entries[word]))]
        spoken = np.repeat([*phones, "SIL"], random.integers(6, 10, len(phones) + 1))
        ids.append(f"utterance-{number:03d}")
        transcripts[ids[-1]] = words
        noise = random.standard_normal((len(spoken), DIMS))
        frames.append(np.stack([means[phone] for phone in spoken]) + noise)
        truth.append(spoken)
    index = FrameIndex.from_lengths(
        ids, [f"speaker-{n % 5}" for n in range(utterances)], list(map(len, frames))
    )
    return Toy(index, np.concatenate(frames).astype(np.float32), transcripts, np.concatenate(truth))
