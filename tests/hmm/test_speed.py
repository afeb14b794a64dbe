"""Passes timed on a tiny corpus: what is timed, not how long it takes."""

import pytest

from asr_kd.config.schema import GmmConfig
from asr_kd.hmm import speed
from asr_kd.hmm.speed import count_passes, measure_passes
from tests.hmm.toy import CONFIG, LEXICON, Toy


def test_every_kind_of_pass_is_timed(toy: Toy) -> None:
    found = measure_passes(CONFIG, toy.index, toy.mfcc, toy.transcripts, LEXICON)
    assert found.keys() == {*count_passes(CONFIG, 1000), speed.GAUSSIAN}
    assert min(found.values()) >= 0.0
    assert found[speed.TRIPHONE_PASS] > 0.0


def test_times_are_a_frame(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(speed, "perf_counter", lambda: float(next(now)))
    found = measure_passes(CONFIG, toy.index, toy.mfcc, toy.transcripts, LEXICON)
    assert found[speed.TREE] == found[speed.LDA] == 1 / toy.index.total_frames


def test_passes_are_counted_by_model() -> None:
    config = GmmConfig(monophone_passes=25, triphone_passes=25)
    counts = count_passes(config, 1)
    assert counts[speed.MONOPHONE_PASS] == 25 and counts[speed.TRIPHONE_PASS] == 50
    # 14 of the monophones and one for the first tree; 6, one for the second tree, 2.
    assert counts[speed.MONOPHONE_ALIGNMENT] == 15 and counts[speed.TRIPHONE_ALIGNMENT] == 9
    assert counts[speed.TREE] == 2 and counts[speed.LDA] == 1 and counts[speed.MLLT] == 4
    plain = count_passes(GmmConfig(transform="deltas"), 1)
    assert plain[speed.TRIPHONE_PASS] == 25 and plain[speed.TREE] == 1 and plain[speed.LDA] == 0


def test_a_large_corpus_has_monophones_of_a_part() -> None:
    counts = count_passes(GmmConfig(), 3_600_000)
    assert counts[speed.MONOPHONE_PASS] == 25 * 360_000
    assert counts[speed.TRIPHONE_PASS] == 50 * 3_600_000
