"""The part of stage align that trains a network on the labels and aligns anew with its scores.

Labels of round 0 are the GMM-HMM's (or imported); those of the last round are ``align/labels``, the others
lie beside them as ``align/labels-round-<i>``, each network as ``align/network-round-<i>``.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import read_manifest
from asr_kd.decoding.acoustic import read_log_priors
from asr_kd.features.store import Part, open_part
from asr_kd.hmm import GmmHmm
from asr_kd.hmm.labels import senone_priors
from asr_kd.jobs import resolve_workers
from asr_kd.models.devices import resolve_device, resolve_precision
from asr_kd.models.inference import log_posteriors
from asr_kd.models.registry import named_settings
from asr_kd.models.storage import load_model
from asr_kd.planning import Wanted, check_settled
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.stages.train import open_labelled
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import TrainingJob, optimiser_fingerprint, run_jobs
from asr_kd.training.objectives import HardObjective

PARTS = ("train", "dev", "test")

# Labels (frames,) int32 of one part, and the ids of its utterances that have none.
PartLabels = tuple[np.ndarray, list[str]]


def labels_folder(work: Path, number: int, rounds: int) -> Path:
    """Where the labels of round `number` of `rounds` belong."""
    return work / "align" / ("labels" if number == rounds else f"labels-round-{number}")


def transcripts(work: Path, part: str) -> dict[str, list[str]]:
    """The words of every utterance of a part."""
    check_settled(work / "data")
    return {utterance.id: utterance.words for utterance in read_manifest(work / "data" / f"{part}.jsonl")}


def alignment_lexicon(work: Path) -> Lexicon:
    """The lexicon with every word of every transcript."""
    check_settled(work / "data")
    return Lexicon.read(work / "data" / "lexicon_align.txt")


def write_labels_folder(folder: Path, labels: Mapping[str, PartLabels], senones: int) -> None:
    """Write ``<part>.npy``, ``priors.npy`` of the training part and ``summary.json``, and say what failed."""
    for part, (own, _) in labels.items():
        np.save(folder / f"{part}.npy", own, allow_pickle=False)
    np.save(folder / "priors.npy", senone_priors(labels["train"][0], senones), allow_pickle=False)
    failed = {part: ids for part, (_, ids) in labels.items()}
    summary = json.dumps({"senones": senones, "failed": failed}, indent=1)
    (folder / "summary.json").write_text(summary + "\n", encoding="utf-8")
    say("labels: no alignment for " + ", ".join(f"{len(ids)} of {part}" for part, ids in failed.items()))


Inputs = Mapping[str, Artifact | str]


def plan_round(
    config: Config, work: Path, model: Artifact, number: int, inputs: Callable[[], Inputs]
) -> Iterator[Wanted]:
    """What a round makes, see `planning` and `run_round`."""
    before, path = (labels_folder(work, place, config.align.realign.rounds) for place in (number - 1, number))
    network = Artifact(work / "align" / f"network-round-{number}")
    job = partial(_network_job, config, work, number, before, senones=0)
    yield Wanted(network.path, lambda: job().made_from)
    yield Wanted(path, lambda: _made_from(config, model, network, before, inputs()))


def _made_from(
    config: Config, model: Artifact, network: Artifact, before: Path, inputs: Inputs
) -> dict[str, Any]:
    used = {**inputs, "model": model, "network": network, "priors": Artifact(before)}
    return fingerprint("realigned labels", {"precision": config.precision}, used)


def run_round(config: Config, work: Path, model: Artifact, number: int, inputs: Inputs) -> None:
    """Train a network on the labels of the round before and align all parts with it.

    Args:
        config: of the recipe.
        work: its folder.
        model: the GMM-HMM, whose states and transitions stay.
        number: of the round, from 1.
        inputs: what every alignment is made from.
    """
    rounds = config.align.realign.rounds
    before, path = (labels_folder(work, place, rounds) for place in (number - 1, number))
    gmm = GmmHmm.load(model.path)
    job = _network_job(config, work, number, before, gmm.senones)
    run_jobs([job], resolve_workers(config.workers), "realignment")
    network = Artifact(job.path)
    made_from = _made_from(config, model, network, before, inputs)
    if find(path, made_from) is not None:
        say(f"labels, round {number}: up to date")
        return
    aligned = {part: _align(config, work, gmm, part, network.path, read_log_priors(before)) for part in PARTS}
    _say_changes(aligned["train"][0], np.load(before / "train.npy"), number)
    with create(path, made_from) as folder:
        write_labels_folder(folder, aligned, gmm.senones)


def _network_job(config: Config, work: Path, number: int, labels: Path, senones: int) -> TrainingJob:
    optimiser = config.align.realign.optimiser
    model = named_settings(config.models, config.align.realign.model, "align.realign.model")
    seed = derive_seed(config.seed, "align", "network", number)
    inputs = {part: Artifact(work / "features" / part) for part in ("train", "dev")}
    settings = {"model": model, "optimiser": optimiser_fingerprint(optimiser), "seed": seed}
    return TrainingJob(
        name=f"network of realignment round {number}",
        path=work / "align" / f"network-round-{number}",
        made_from=fingerprint("realignment network", settings, {**inputs, "labels": Artifact(labels)}),
        model=model,
        senones=senones,
        objective=HardObjective(optimiser.label_smoothing),
        open_data=partial(_open_data, work, labels),
        optimiser=optimiser,
        seed=seed,
        device=str(resolve_device(config.device)),
    )


def _open_data(work: Path, labels: Path) -> tuple[FrameData, FrameData]:
    return open_labelled(work, "train", labels), open_labelled(work, "dev", labels)


def _align(
    config: Config, work: Path, gmm: GmmHmm, part: str, network: Path, log_priors: np.ndarray
) -> PartLabels:
    features = open_part(work / "features" / part)
    return gmm.align_scores(
        features.index,
        transcripts(work, part),
        alignment_lexicon(work),
        resolve_workers(config.workers),
        _scores(features, network, log_priors, resolve_device(config.device), config.precision),
    )


def _scores(
    features: Part, network: Path, log_priors: np.ndarray, device: torch.device, precision: str
) -> Callable[[str], np.ndarray]:
    model = load_model(network, str(device))
    products = resolve_precision(precision, device, "precision")

    def scores(utterance: str) -> np.ndarray:
        frames = features.fbank[features.index.span(utterance)]
        posteriors = log_posteriors(model, frames, device, precision=products)
        result: np.ndarray = posteriors.cpu().numpy() - log_priors
        return result

    return scores


def _say_changes(new: np.ndarray, old: np.ndarray, number: int) -> None:
    both = (new >= 0) & (old >= 0)
    share = np.mean(new[both] != old[both]) if both.any() else 0.0
    say(f"realignment round {number}: {share:.1%} of the training labels changed")
