"""Fixtures for everything that tests need more than once."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of development corpora (`ASR_KD_CORPORA`); the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "shared" / "corpora"
    folder = Path(os.environ.get("ASR_KD_CORPORA", default))
    if not folder.is_dir():
        pytest.skip(f"no corpora in {folder}: set ASR_KD_CORPORA to run this test")
    return folder
