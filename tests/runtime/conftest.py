"""A tiny model folder, made once, and noise to recognise."""

from pathlib import Path

import numpy as np
import pytest

from asr_kd.decoding.network import NETWORK_FILE
from tests.runtime.toy_model import write_model_folder, write_network


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / NETWORK_FILE
    write_network(path)
    return path


@pytest.fixture(scope="session")
def model_folder(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recogniser") / "model"
    write_model_folder(path, network_file)
    return path


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness and colour change, ``(samples,)`` float32."""
    random = np.random.default_rng(seed)
    samples = random.standard_normal(round(16000 * seconds)).astype(np.float32)
    places = np.arange(len(samples)) / 16000
    tone = np.sin(2 * np.pi * places * (300 + 2000 * (np.floor(3 * places) % 3)))
    return (0.02 * samples + 0.2 * tone * (np.floor(2 * places) % 3 > 0)).astype(np.float32)
