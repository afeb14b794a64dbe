"""The lexicon as a transducer from phones to words."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import kaldifst

from asr_kd.corpus.lexicon import Lexicon, Pronunciation
from asr_kd.errors import AsrKdError


@dataclass(frozen=True)
class Entry:
    """One pronunciation of one word.

    Attributes:
        word: the word.
        phones: how it is pronounced.
        disambiguation: 0, or the number of the symbol (#1, #2, ...) that must follow its phones so that no
            pronunciation equals another or begins another.
    """

    word: str
    phones: Pronunciation
    disambiguation: int = 0


@dataclass(frozen=True)
class DisambiguationLabels:
    """Labels that exist only while a graph is built, and keep it determinisable.

    Attributes:
        phones: the input labels of #0, #1, #2, ... in that order; the last one follows silence.
        backoff_word: the output label of #0, which marks the back-off arcs of the grammar.
    """

    phones: tuple[int, ...]
    backoff_word: int


def entries(lexicon: Lexicon) -> list[Entry]:
    """All pronunciations, sorted by word, with the disambiguation symbols that they need.

    A pronunciation needs one where another word has it too or where it begins another (Mohri, Pereira and
    Riley 2008; Kaldi's ``add_lex_disambig.pl``).
    """
    rows = [(word, phones) for word in sorted(lexicon.entries) for phones in lexicon.entries[word]]
    frequency = Counter(phones for _, phones in rows)
    beginnings = {phones[:length] for phones in frequency for length in range(1, len(phones))}
    used: Counter[Pronunciation] = Counter()
    result = []
    for word, phones in rows:
        if frequency[phones] > 1 or phones in beginnings:
            used[phones] += 1
        result.append(Entry(word, phones, used[phones]))
    return result


def lexicon_fst(
    lexicon_entries: Sequence[Entry],
    words: Mapping[str, int],
    phones: Mapping[str, int],
    silence: int,
    silence_probability: float,
    disambiguation: DisambiguationLabels | None = None,
) -> kaldifst.StdVectorFst:
    """A transducer from phones to words, with optional silence at the beginning and after every word.

    Args:
        lexicon_entries: the pronunciations, all equally probable.
        words: output label of each word.
        phones: input label of each phone.
        silence: input label of silence.
        silence_probability: of silence at each place where it may be.
        disambiguation: symbols to put in, for decoding graphs; none: leave them out, for training graphs.

    Returns:
        The transducer, sorted by output label.

    Raises:
        AsrKdError: the probability is not strictly between 0 and 1.
    """
    if not 0 < silence_probability < 1:
        raise AsrKdError(f"align.gmm.silence_probability={silence_probability}: give one between 0 and 1")
    fst = kaldifst.StdVectorFst()
    start, word_begin, silence_begin = (fst.add_state() for _ in range(3))
    fst.start = start
    fst.set_final(word_begin, 0.0)
    without, within = -math.log(1 - silence_probability), -math.log(silence_probability)
    fst.add_arc(start, kaldifst.StdArc(0, 0, without, word_begin))
    fst.add_arc(start, kaldifst.StdArc(0, 0, within, silence_begin))
    _add_path(fst, silence_begin, [silence, *_after_silence(disambiguation)], 0, [(word_begin, 0.0)])
    ends = [(word_begin, without), (silence_begin, within)]
    for entry in lexicon_entries:
        labels = [phones[phone] for phone in entry.phones]
        if disambiguation is not None and entry.disambiguation:
            labels.append(disambiguation.phones[entry.disambiguation])
        _add_path(fst, word_begin, labels, words[entry.word], ends)
    if disambiguation is not None:
        back_off = kaldifst.StdArc(disambiguation.phones[0], disambiguation.backoff_word, 0.0, word_begin)
        fst.add_arc(word_begin, back_off)
    kaldifst.arcsort(fst, sort_type="olabel")
    return fst


def _after_silence(disambiguation: DisambiguationLabels | None) -> list[int]:
    # Without it, silence after a word and silence before the next one could not be told apart.
    return [] if disambiguation is None else [disambiguation.phones[-1]]


def _add_path(
    fst: kaldifst.StdVectorFst, begin: int, labels: Sequence[int], word: int, ends: list[tuple[int, float]]
) -> None:
    """A chain of arcs reading `labels`; its first arc emits `word`, its last is doubled for all `ends`."""
    outputs: Iterator[int] = iter([word, *[0] * (len(labels) - 1)])
    state = begin
    for label in labels[:-1]:
        following = fst.add_state()
        fst.add_arc(state, kaldifst.StdArc(label, next(outputs), 0.0, following))
        state = following
    last_output = next(outputs)
    for end, weight in ends:
        fst.add_arc(state, kaldifst.StdArc(labels[-1], last_output, weight, end))
