"""The folder of a recogniser: everything it needs, each file with its hash; no pickle."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import MANIFEST, Artifact
from asr_kd.config import FeatureConfig
from asr_kd.corpus.audio import SAMPLE_RATES
from asr_kd.decoding.graph import GRAPH_FILE, WORDS_FILE, Graph, load_graph
from asr_kd.decoding.network import NETWORK_FILE, OnnxNetwork
from asr_kd.decoding.search import SearchSettings
from asr_kd.errors import AsrKdError
from asr_kd.features.fbank import check_mel_bins, frame_samples
from asr_kd.frames import read_array
from asr_kd.runtime.normalise import TrainingStatistics
from asr_kd.runtime.word_times import PhoneMap

CARD_FILE, CARD_TEXT_FILE = "model.json", "README.md"
PRIORS_FILE = "log_priors.npy"
STATISTICS_FILE = "statistics.npy"
PHONES_FILE = "phones.json"
FORMAT = 1
# What a card may say: types, least and greatest value. Memory and time are taken by it.
_RANGES: dict[str, tuple[tuple[type, ...], float, float]] = {
    "mel_bins": ((int,), 1, 10_000),
    "frame_shift_milliseconds": ((int, float), 0.1, 1e3),
    "frame_length_milliseconds": ((int, float), 0.1, 1e3),
    "low_hertz": ((int, float), 0, 1e6),
    "high_hertz": ((int, float), -1e6, 1e6),
    "acoustic_scale": ((int, float), 1e-6, 1e3),
    "beam": ((int, float), 1e-6, 1e4),
    "max_active": ((int,), 1, 1e7),
    "sample_rate": ((int,), SAMPLE_RATES[0], SAMPLE_RATES[-1]),
}
_LONGEST_FRAME = 4096  # samples: of 85 ms at 48 kHz; the matrix that transforms frames is square
_FILES = (CARD_FILE, NETWORK_FILE, PRIORS_FILE, STATISTICS_FILE, GRAPH_FILE, WORDS_FILE)


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded recogniser.

    Attributes:
        card: the content of ``model.json``: what it is, how it was measured.
        network: the acoustic model.
        graph: what is searched.
        log_priors: ``(senones,)`` float32.
        statistics: of the training speakers.
        features: how frames are made.
        sample_rate: hertz.
        search: scale and pruning, as tuned on dev.
        phones: what the senones mean; None where they came from another toolkit.
    """

    card: dict[str, Any]
    network: OnnxNetwork
    graph: Graph
    log_priors: np.ndarray
    statistics: TrainingStatistics
    features: FeatureConfig
    sample_rate: int
    search: SearchSettings
    phones: PhoneMap | None

    @property
    def frame_seconds(self) -> float:
        """From one frame to the next."""
        return self.features.frame_shift_milliseconds / 1000.0


def load_model_folder(folder: Path, threads: int = 1) -> Model:
    """Load a model that ``asr-kd export-model`` wrote, every file checked by its hash.

    Args:
        folder: of the model.
        threads: of the network.

    Raises:
        AsrKdError: a file is missing or damaged, or the files do not belong together; names it.
    """
    artifact = Artifact(folder)
    artifact.verify()
    unlisted = sorted({*_FILES} - artifact.manifest["files"].keys())
    if unlisted:
        raise AsrKdError(f"{folder / unlisted[0]} is not in {MANIFEST}: nothing vouches for it; export again")
    try:
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise AsrKdError(f"{folder} is a model of format {card['format']}, this program reads {FORMAT}")
        features, search, sample_rate = _card_settings(card)
        log_priors = read_array(folder / PRIORS_FILE)
        network = OnnxNetwork(folder / NETWORK_FILE, threads)
        model = Model(
            card,
            network,
            load_graph(folder, flat=False),  # whoever waits for the first words waits for this
            log_priors,
            TrainingStatistics.load(folder / STATISTICS_FILE, network.senones),
            features,
            sample_rate,
            search,
            PhoneMap.read(folder / PHONES_FILE) if PHONES_FILE in artifact.manifest["files"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AsrKdError(f"{folder} is not a model of this program ({error!r}); export it again") from error
    _check(folder, model)
    return model


def _card_settings(card: dict[str, Any]) -> tuple[FeatureConfig, SearchSettings, int]:
    """How frames are made and searched, and their sample rate, as ``model.json`` says.

    Raises:
        ValueError: a number is of another type than it should be, or beyond all sense.
    """
    features, search = FeatureConfig(**card["features"]), SearchSettings(**card["search"])
    own = {**vars(features), **vars(search), "sample_rate": card["sample_rate"]}
    for name, (kinds, lowest, highest) in _RANGES.items():
        if type(own[name]) not in kinds or not lowest <= own[name] <= highest:
            raise ValueError(f"{CARD_FILE}: {name}={own[name]!r}")
    try:
        check_mel_bins(features, own["sample_rate"], features.mel_bins)
        length, _ = frame_samples(features, own["sample_rate"])
    except AsrKdError as error:
        raise ValueError(f"{CARD_FILE}: {error}") from None
    if length > _LONGEST_FRAME:
        raise ValueError(f"{CARD_FILE}: frames of {length} samples")
    return features, search, own["sample_rate"]


def _check(folder: Path, model: Model) -> None:
    senones = model.network.senones
    fits = (
        model.log_priors.shape == (senones,)
        and np.isfinite(model.log_priors).all()
        and model.statistics.mean.shape == (model.network.input_dims,)
        and model.features.mel_bins == model.network.input_dims
        and model.graph.highest_input_label <= senones
        and (model.phones is None or len(model.phones.phones) == senones)
    )
    if not fits:
        raise AsrKdError(
            f"{folder}: network, priors, statistics and graph do not belong together; export again"
        )
