"""A tiny model folder: words A and B, three senones, an exported network."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from asr_kd import artifacts
from asr_kd.compression.export import export_network
from asr_kd.config import FeatureConfig
from asr_kd.decoding.graph import note_counts
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


def write_network(path: Path) -> None:
    """The exported network alone."""
    make_model(path.parent / "model", seed=3)
    export_network(load_model(path.parent / "model"), path)


def write_model_folder(path: Path, network: Path) -> None:
    """The whole folder, with a copy of this network."""
    means = np.eye(3, MEL_BINS)
    with artifacts.create(path, {"kind": "model folder"}) as folder:
        (folder / NETWORK_FILE).write_bytes(network.read_bytes())
        write_graph(folder, WORDS)
        note_counts(folder)
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
