"""Fixtures for everything that tests need more than once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asr_kd.hmm import GmmHmm
    from tests.hmm.toy import Toy


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of development corpora (`ASR_KD_CORPORA`); the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "shared" / "corpora"
    folder = Path(os.environ.get("ASR_KD_CORPORA", default))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}: set ASR_KD_CORPORA to run this test")
    return folder


@pytest.fixture(scope="session")
def toy() -> "Toy":
    """A tiny language with tiny speech."""
    from tests.hmm.toy import toy_corpus  # here: most tests need no Kaldi

    return toy_corpus()


@pytest.fixture(scope="session")
def toy_model(toy: "Toy") -> "GmmHmm":
    """A GMM-HMM of the tiny language."""
    from asr_kd.hmm import train_gmm_hmm
    from tests.hmm.toy import CONFIG, LEXICON

    return train_gmm_hmm(CONFIG, toy.index, toy.mfcc, toy.transcripts, LEXICON, seed=1, workers=1)
