"""How much there is of everything, as far as it is known before a run; stage data has to be done."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from asr_kd.bench.material import with_duration
from asr_kd.config import Config
from asr_kd.config.schema import LmConfig, ViewConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.corpus.unlabelled import read_unlabelled
from asr_kd.features.store import open_part
from asr_kd.layout import TRAIN, UNLABELLED, view_folder
from asr_kd.stages import given_frames
from asr_kd.stages.data import frame_counter

PARTS = ("train", "dev", "test")
LABELS_SUMMARY = Path("align") / "labels" / "summary.json"
# N-grams are counted in so many words of text; of longer ones there are at most in proportion.
_COUNTED_WORDS = 2_000_000


@dataclass(frozen=True)
class PartSize:
    """A part of the corpus, or a copy of one.

    Attributes:
        utterances: how many.
        frames: of all.
        seconds: of audio.
        longest: frames of the longest utterance.
    """

    utterances: int
    frames: int
    seconds: float
    longest: int

    def share(self, fraction: float) -> "PartSize":
        """A part of it."""
        return replace(
            self,
            utterances=round(fraction * self.utterances),
            frames=round(fraction * self.frames),
            seconds=fraction * self.seconds,
        )


@dataclass(frozen=True)
class Sizes:
    """A recipe's sizes.

    Attributes:
        parts: train, dev, test, and what students and members learn from beside them, by folder.
        senones: classes; before there are any, as many as there may be.
        dims: features of a frame.
        words: of the vocabulary.
        ngrams: of every language model, at most.
        train: the utterances of the training part; none where the corpus gives frames.
    """

    parts: Mapping[str, PartSize]
    senones: int
    dims: int
    words: int
    ngrams: Mapping[str, int]
    train: tuple[Utterance, ...] = ()

    def frames(self, *parts: str) -> int:
        """Of some parts together."""
        return sum(self.parts[part].frames for part in parts)


def read_sizes(config: Config, work: Path) -> Sizes:
    """The sizes of a recipe whose stage data is done.

    Raises:
        AsrKdError: what stage data wrote cannot be read.
    """
    if given_frames.is_given(config):
        return _given_sizes(config, work)
    manifests = {part: read_manifest(work / "data" / f"{part}.jsonl") for part in PARTS}
    parts = {part: _measure(manifest, config) for part, manifest in manifests.items()}
    if config.data.unlabelled:
        utterances = [with_duration(one) for one in read_unlabelled(config.data.unlabelled)]
        parts[UNLABELLED] = _measure(utterances, config)
    parts |= copies(parts, config.views, work)
    return Sizes(
        parts,
        _senones(config, work),
        config.features.mel_bins,
        len(Lexicon.read(work / "data" / "lexicon.txt").entries),
        {name: _ngrams(work, name, lm, manifests[TRAIN]) for name, lm in config.lms.items()},
        tuple(manifests[TRAIN]),
    )


def copies(parts: Mapping[str, PartSize], views: Mapping[str, ViewConfig], work: Path) -> dict[str, PartSize]:
    """The perturbed copies of what students learn from, by folder."""
    return {
        view_folder(work, name, original).name: replace(
            parts[original].share(1 / view.speed), utterances=parts[original].utterances
        )
        for original in (TRAIN, UNLABELLED)
        if original in parts
        for name, view in views.items()
    }


def _given_sizes(config: Config, work: Path) -> Sizes:
    """Of a corpus of labelled frames: stage data has laid all of them out."""
    stored = {part: open_part(work / "features" / part) for part in PARTS}
    parts = {
        part: PartSize(len(one.index), len(one.fbank), 0.0, int(one.index.lengths.max(initial=0)))
        for part, one in stored.items()
    }
    parts |= {view_folder(work, name).name: parts[TRAIN] for name in config.views}
    return Sizes(parts, _senones(config, work), stored[TRAIN].fbank.shape[1], 0, {})


def _measure(utterances: Sequence[Utterance], config: Config) -> PartSize:
    count = frame_counter(config)
    lengths = [count(one.duration_seconds or 0.0) for one in utterances]
    seconds = sum(one.duration_seconds or 0.0 for one in utterances)
    return PartSize(len(utterances), sum(lengths), seconds, max(lengths, default=0))


def _senones(config: Config, work: Path) -> int:
    summary = work / LABELS_SUMMARY
    if summary.is_file():
        return int(json.loads(summary.read_text(encoding="utf-8"))["senones"])
    return config.align.gmm.leaves


def _ngrams(work: Path, name: str, lm: LmConfig, train: Sequence[Utterance]) -> int:
    """How many n-grams a language model will have at most."""
    for arpa in (work / "data" / f"{lm.arpa}.arpa", work / "data" / f"{name}.arpa"):
        if lm.arpa is not None and arpa.is_file():
            return _announced(arpa)
    sentences: Iterable[Sequence[str]] = (one.words for one in train)
    text = work / "data" / "lm_text.txt"
    if lm.extra_text and text.is_file():
        sentences = chain(sentences, _lines(text))
    return count_ngrams(sentences, lm.order, once=not lm.prune)


def _lines(text: Path) -> Iterator[list[str]]:
    with text.open(encoding="utf-8") as file:
        yield from (line.split() for line in file)


def _announced(arpa: Path) -> int:
    r"""What the lines ``ngram 2=123`` of an ARPA file add up to."""
    with arpa.open(encoding="utf-8") as file:
        head = [line.partition("=")[2] for line in islice(file, 20) if line.startswith("ngram ")]
    return sum(int(count) for count in head if count.strip().isdigit())


def count_ngrams(sentences: Iterable[Sequence[str]], order: int, once: bool = True) -> int:
    """Different n-grams of all orders up to `order`, with marks at both ends of sentences.

    Args:
        sentences: words of each; of very many, the rest is taken to have n-grams in proportion.
        order: of the longest.
        once: also count those of order 3 and above that occur once: pruning leaves hardly any of them.
    """
    seen: list[dict[tuple[str, ...], bool]] = [{} for _ in range(order)]
    counted = total = 0
    for sentence in sentences:
        total += len(sentence)
        if counted > _COUNTED_WORDS:
            continue
        counted += len(sentence)
        words = ("<s>", *sentence, "</s>")
        for length, known in enumerate(seen, start=1):
            for place in range(len(words) - length + 1):
                ngram = words[place : place + length]
                known[ngram] = ngram in known
    kept = [
        sum(known.values()) if length > 2 and not once else len(known)
        for length, known in enumerate(seen, start=1)
    ]
    return round(sum(kept) * max(1.0, total / max(1, counted)))
