from pathlib import Path

import numpy as np
import pytest

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.hmm import GmmHmm
from tests.hmm.toy import LEXICON, Toy, toy_corpus


def test_unseen_speech_is_aligned_where_its_phones_are(toy_model: GmmHmm) -> None:
    other = toy_corpus(utterances=20, seed=5)
    labels, failed = toy_model.align(other.index, other.mfcc, other.transcripts, LEXICON, workers=1)
    assert failed == [] and labels.dtype == np.int32
    # Derivatives smear the borders of these phones of six to nine frames.
    assert np.mean(np.array(toy_model.senone_phones())[labels] == other.phones) > 0.85


def test_own_labels_as_scores_come_back(toy: Toy, toy_model: GmmHmm) -> None:
    labels, _ = toy_model.align(toy.index, toy.mfcc, toy.transcripts, LEXICON, workers=1)
    certain = 50.0 * (labels[:, None] == np.arange(toy_model.senones)).astype(np.float32)
    again, failed = toy_model.align_scores(
        toy.index, toy.transcripts, LEXICON, 2, lambda name: certain[toy.index.span(name)]
    )
    assert failed == []
    np.testing.assert_array_equal(again, labels)


def test_wrong_scores_are_refused(toy: Toy, toy_model: GmmHmm) -> None:
    with pytest.raises(AsrKdError, match="utterance utterance-000: scores of shape"):
        toy_model.align_scores(toy.index, toy.transcripts, LEXICON, 1, lambda name: np.zeros((3, 2)))


def test_an_utterance_too_short_for_its_words_fails_alone(toy: Toy, toy_model: GmmHmm) -> None:
    first = toy.mfcc[toy.index.span(0)]
    index = FrameIndex.from_lengths(["short", "long"], ["s", "s"], [5, len(first)])
    mfcc = np.concatenate([first[:5], first])
    transcripts = {"short": ["THREE", "ONE"], "long": toy.transcripts["utterance-000"]}
    labels, failed = toy_model.align(index, mfcc, transcripts, LEXICON, workers=1)
    assert failed == ["short"]
    assert np.all(labels[:5] == -1) and np.all(labels[5:] >= 0)


def test_files_read_back(tmp_path: Path, toy: Toy, toy_model: GmmHmm) -> None:
    toy_model.save(tmp_path)
    loaded = GmmHmm.load(tmp_path)
    mfcc = toy.mfcc[toy.index.span(0)]
    np.testing.assert_array_equal(loaded.log_likelihoods(mfcc), toy_model.log_likelihoods(mfcc))
    np.testing.assert_array_equal(loaded.densities.transform, toy_model.densities.transform)
    assert loaded.settings == toy_model.settings and loaded.phones == toy_model.phones
    np.testing.assert_array_equal(loaded.hmm.transitions.log_probs, toy_model.hmm.transitions.log_probs)
    assert not any(b"pickle" in file.read_bytes() for file in tmp_path.iterdir())


def test_damage_is_named(tmp_path: Path, toy_model: GmmHmm) -> None:
    toy_model.save(tmp_path)
    np.save(tmp_path / "transitions.npy", np.ones(7))
    with pytest.raises(AsrKdError, match="transitions but counts of 6"):
        GmmHmm.load(tmp_path)
    (tmp_path / "tree").write_bytes(b"text")
    with pytest.raises(AsrKdError, match="not a binary Kaldi tree"):
        GmmHmm.load(tmp_path)
    (tmp_path / "tree").unlink()
    with pytest.raises(AsrKdError, match="run stage align"):
        GmmHmm.load(tmp_path)


def test_foreign_phones_are_named(toy: Toy, toy_model: GmmHmm) -> None:
    foreign = Lexicon.from_mapping({**LEXICON.entries, "ONE": [["A", "X"]]})
    with pytest.raises(AsrKdError, match="'ONE' is pronounced with 'X'"):
        toy_model.align(toy.index, toy.mfcc, toy.transcripts, foreign, workers=1)
