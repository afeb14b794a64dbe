"""A tiny model folder: words A and B, three senones, an exported network."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from asr_kd import artifacts
from asr_kd.compression.export import export_network
from asr_kd.config import FeatureConfig
from asr_kd.models.storage import load_model
from asr_kd.runtime.model import (
    CARD_FILE,
    FORMAT,
    NETWORK_FILE,
    PHONES_FILE,
    PRIORS_FILE,
    STATISTICS_FILE,
)
from asr_kd.runtime.normalise import TrainingStatistics
from asr_kd.runtime.word_times import PhoneMap
from tests.decoding.graphs import write_graph
from tests.work_folder import MEL_BINS, WORDS, make_model

PHONES = PhoneMap(
    [frozenset({"AH"}), frozenset({"B"}), frozenset({"SIL"})],
    [True, True, True],
    "SIL",
    {"A": [("AH",)], "B": [("B",)]},
)


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    make_model(folder / "model", seed=3)
    export_network(load_model(folder / "model"), folder / NETWORK_FILE)
    return folder / NETWORK_FILE


@pytest.fixture(scope="session")
def model_folder(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recogniser") / "model"
    means = np.eye(3, MEL_BINS)
    with artifacts.create(path, {"kind": "model folder"}) as folder:
        (folder / NETWORK_FILE).write_bytes(network_file.read_bytes())
        write_graph(folder, WORDS)
        np.save(folder / PRIORS_FILE, np.log(np.full(3, 1 / 3, np.float32)))
        training = TrainingStatistics(
            np.full(MEL_BINS, 10.0), np.full(MEL_BINS, 2.0), means, np.square(means) + 0.5
        )
        training.save(folder / STATISTICS_FILE)
        PHONES.write(folder / PHONES_FILE)
        features = asdict(FeatureConfig(mel_bins=MEL_BINS))
        card = {"format": FORMAT, "features": features, "sample_rate": 16000}
        card["search"] = {"acoustic_scale": 1.0, "beam": 20.0, "max_active": 100}
        (folder / CARD_FILE).write_text(json.dumps(card))
    return path


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose loudness and colour change, ``(samples,)`` float32."""
    random = np.random.default_rng(seed)
    samples = random.standard_normal(round(16000 * seconds)).astype(np.float32)
    places = np.arange(len(samples)) / 16000
    tone = np.sin(2 * np.pi * places * (300 + 2000 * (np.floor(3 * places) % 3)))
    return (0.02 * samples + 0.2 * tone * (np.floor(2 * places) % 3 > 0)).astype(np.float32)
