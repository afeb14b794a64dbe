"""Fixtures for everything that tests need more than once."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.small_mini import settings_in

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
def finished_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `tests.small_mini`: ``corpora`` and ``exp``. Made once for all test processes.

    Not to be changed: take `mini`, a copy.
    """
    from asr_kd import cli

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mini"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "finished").exists():
            assert cli.main(["run", *settings_in(folder / "corpora", folder / "exp")]) == 0
            (folder / "finished").touch()
    return folder


@pytest.fixture
def mini(finished_mini: Path, tmp_path: Path) -> list[str]:
    """The settings of a finished run of `tests.small_mini`, a copy; the last is its work folder."""
    shutil.copytree(finished_mini / "exp", tmp_path / "exp")
    return settings_in(finished_mini / "corpora", tmp_path / "exp")


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
