from itertools import pairwise

import numpy as np

from asr_kd.hmm import GmmHmm
from asr_kd.hmm.word_times import word_times
from tests.hmm.toy import LEXICON, Toy


def test_words_lie_where_they_were_spoken(toy: Toy, toy_model: GmmHmm) -> None:
    for name in toy.index.ids[:10]:
        span = toy.index.span(name)
        words = toy.transcripts[name]
        found = word_times(toy_model, LEXICON, words, toy.mfcc[span], name)
        assert found is not None
        assert [time.word for time in found] == words
        speech = np.flatnonzero(toy.phones[span] != "SIL")
        # Between the first and the last frame of speech the words follow each other without pauses.
        assert abs(found[0].start - speech[0]) <= 2
        assert abs(found[-1].end - speech[-1] - 1) <= 2
        for time, following in pairwise(found):
            assert time.start < time.end <= following.start <= time.end + 2
            first = toy.phones[span][time.start + 2]
            assert first in {phones[0] for phones in LEXICON.entries[time.word]}


def test_no_words_have_no_times(toy: Toy, toy_model: GmmHmm) -> None:
    assert word_times(toy_model, LEXICON, [], toy.mfcc[:50], "u") == []


def test_too_short_for_its_words(toy: Toy, toy_model: GmmHmm) -> None:
    assert word_times(toy_model, LEXICON, ["TWO"] * 10, toy.mfcc[:20], "u") is None
