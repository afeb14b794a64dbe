from dataclasses import replace

import numpy as np
import pytest

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.hmm import GmmHmm, train_gmm_hmm
from asr_kd.hmm.splice import delta_transform
from tests.hmm.toy import CONFIG, DIMS, LEXICON, Toy


def test_result_does_not_depend_on_the_number_of_workers(toy: Toy, toy_model: GmmHmm) -> None:
    other = train_gmm_hmm(CONFIG, toy.index, toy.mfcc, toy.transcripts, LEXICON, seed=1, workers=2)
    assert other.definition.tree == toy_model.definition.tree
    np.testing.assert_array_equal(other.definition.transition_counts, toy_model.definition.transition_counts)
    np.testing.assert_array_equal(other.densities.gmms.means, toy_model.densities.gmms.means)


def test_sizes_stay_within_the_settings(toy_model: GmmHmm) -> None:
    assert 4 * 3 + 5 < toy_model.senones <= CONFIG.leaves
    assert toy_model.senones < len(toy_model.densities.gmms.weights) <= CONFIG.gaussians


def test_lda_projects_and_deltas_do_not(toy: Toy, toy_model: GmmHmm) -> None:
    assert toy_model.densities.transform.shape == (CONFIG.dimensions, 9 * DIMS)
    settings = replace(CONFIG, transform="deltas")
    plain = train_gmm_hmm(settings, toy.index, toy.mfcc, toy.transcripts, LEXICON, seed=1, workers=1)
    np.testing.assert_array_equal(plain.densities.transform, delta_transform(DIMS))


def test_unknown_words_are_named(toy: Toy) -> None:
    poorer = Lexicon({word: entry for word, entry in LEXICON.entries.items() if word != "TO"})
    with pytest.raises(AsrKdError, match=r"utterance utterance-\d+: the word 'TO' is not in the lexicon"):
        train_gmm_hmm(CONFIG, toy.index, toy.mfcc, toy.transcripts, poorer, seed=1, workers=1)
