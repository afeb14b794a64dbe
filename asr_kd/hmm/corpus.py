"""What is aligned: speech with its words, cut into shards for worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.frames import FrameIndex, create_frames

# A shard is about two and a half minutes of speech, more where the corpus would fall into too many.
SHARD_FRAMES = 16_000
MAX_SHARDS = 64


@dataclass(frozen=True, eq=False)
class Transcripts:
    """The words of every utterance, as numbers: every worker has them, and strings take ten times the room.

    Attributes:
        vocabulary: the words.
        numbers: ``(words of all utterances,)`` int32, places in `vocabulary`.
        offsets: ``(utterances + 1,)`` int64; utterance i has the words ``offsets[i]:offsets[i + 1]``.
    """

    vocabulary: tuple[str, ...]
    numbers: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, utterances: Sequence[Sequence[str]]) -> "Transcripts":
        """From the words of every utterance."""
        vocabulary = tuple(sorted({word for words in utterances for word in words}))
        place = {word: number for number, word in enumerate(vocabulary)}
        numbers = np.fromiter((place[word] for words in utterances for word in words), np.int32)
        return cls(vocabulary, numbers, np.cumsum([0, *map(len, utterances)]))

    def words(self, utterance: int) -> list[str]:
        """Of the utterance at a place."""
        own = self.numbers[self.offsets[utterance] : self.offsets[utterance + 1]]
        return [self.vocabulary[number] for number in own]


@dataclass(frozen=True, eq=False)
class Corpus:
    """What is aligned.

    Attributes:
        index: of the utterances.
        mfcc: ``(frames, cepstra)`` float32, or the path of the ``.npy`` file that holds it.
        transcripts: words of each utterance.
        lexicon: pronunciations of all these words.
        alignments: a ``.npy`` file ``(frames,)`` int32 for the transition ids of every frame, 0 where there
            is none; only training needs it.
    """

    index: FrameIndex
    mfcc: np.ndarray | str
    transcripts: Transcripts
    lexicon: Lexicon
    alignments: Path | None = None

    @classmethod
    def of(
        cls, index: FrameIndex, mfcc: np.ndarray, transcripts: Mapping[str, Sequence[str]], lexicon: Lexicon
    ) -> "Corpus":
        """The corpus, restricted to what its utterances need; a memory-mapped array travels as its path."""
        own = Transcripts.of([transcripts[utterance] for utterance in index.ids])
        whole_file = isinstance(mfcc, np.memmap) and mfcc.filename is not None and mfcc.base is not None
        source = str(mfcc.filename) if whole_file and isinstance(mfcc, np.memmap) else np.asarray(mfcc)
        return cls(index, source, own, lexicon.restricted(own.vocabulary))

    def with_alignments(self, path: Path) -> "Corpus":
        """The same with a new file for alignments, none of which is there yet."""
        create_frames(path, self.index.total_frames, (), np.int32)
        return replace(self, alignments=path)


def shard_ranges(index: FrameIndex) -> list[range]:
    """Consecutive utterances of each shard, a function of the corpus alone."""
    shards = int(np.clip(index.total_frames // SHARD_FRAMES, 1, min(MAX_SHARDS, max(1, len(index)))))
    bounds = np.searchsorted(index.offsets[:-1], np.linspace(0, index.total_frames, shards + 1)[1:-1])
    edges = [0, *map(int, bounds), len(index)]
    return [range(begin, end) for begin, end in pairwise(edges) if begin < end]
