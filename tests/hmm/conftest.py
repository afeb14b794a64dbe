import pytest

from asr_kd.hmm import GmmHmm, train_gmm_hmm
from tests.hmm.toy import CONFIG, LEXICON, Toy, toy_corpus


@pytest.fixture(scope="session")
def toy() -> Toy:
    return toy_corpus()


@pytest.fixture(scope="session")
def toy_model(toy: Toy) -> GmmHmm:
    return train_gmm_hmm(CONFIG, toy.index, toy.mfcc, toy.transcripts, LEXICON, seed=1, workers=1)
