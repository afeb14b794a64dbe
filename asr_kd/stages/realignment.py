"""The part of stage align that trains a network on the labels and aligns anew with its scores.

Labels of round 0 are the GMM-HMM's (or imported); those of the last round are ``align/labels``, the others
lie beside them as ``align/labels-round-<i>``, each network as ``align/network-round-<i>``.
"""

import json
import sys
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
from asr_kd.frames import FrameIndex, create_frames, open_frames
from asr_kd.hmm import GmmHmm
from asr_kd.hmm.labels import BLOCK_FRAMES, senone_priors
from asr_kd.jobs import resolve_workers
from asr_kd.launching import make_launcher
from asr_kd.models.devices import resolve_device, resolve_precision
from asr_kd.models.inference import log_posteriors
from asr_kd.models.registry import named_settings
from asr_kd.models.storage import load_model
from asr_kd.planning import Wanted, check_settled
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.stages.train import open_labelled
from asr_kd.stages.transfer import TransferPart, data_size
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import TrainingJob, optimiser_fingerprint, run_missing
from asr_kd.training.objectives import HardObjective

PARTS = ("train", "dev", "test")


def labels_folder(work: Path, number: int, rounds: int) -> Path:
    """Where the labels of round `number` of `rounds` belong."""
    return work / "align" / ("labels" if number == rounds else f"labels-round-{number}")


def transcripts(work: Path, part: str) -> dict[str, list[str]]:
    """The words of every utterance of a part."""
    check_settled(work / "data")
    manifest = read_manifest(work / "data" / f"{part}.jsonl")
    # A word that occurs a thousand times is one string.
    return {utterance.id: list(map(sys.intern, utterance.words)) for utterance in manifest}


def alignment_lexicon(work: Path) -> Lexicon:
    """The lexicon with every word of every transcript."""
    check_settled(work / "data")
    return Lexicon.read(work / "data" / "lexicon_align.txt")


def new_labels(folder: Path, part: str, index: FrameIndex) -> np.ndarray:
    """The file ``<part>.npy`` for labels ``(frames,)`` int32, memory-mapped, to be filled."""
    return create_frames(folder / f"{part}.npy", index.total_frames, (), np.int32)


def describe_labels(folder: Path, failed: Mapping[str, list[str]], senones: int) -> None:
    """Beside labels write ``priors.npy`` of the training part and ``summary.json``, and say what failed.

    Args:
        folder: with ``<part>.npy``.
        failed: by part, the ids of the utterances without labels.
        senones: classes.
    """
    train = open_frames(folder / "train.npy")
    np.save(folder / "priors.npy", senone_priors(train, senones), allow_pickle=False)
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
    # How many senones there are is known once there is a model, and what the job is made from without.
    job = partial(_network_job, config, work, number, before)
    yield Wanted(
        network.path, lambda: job(senones=0).made_from, lambda: job(senones=GmmHmm.load(model.path).senones)
    )
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
    run_missing([job], make_launcher(config), "realignment networks")
    network = Artifact(job.path)
    made_from = _made_from(config, model, network, before, inputs)
    if find(path, made_from) is not None:
        say(f"labels, round {number}: up to date")
        return
    with create(path, made_from) as folder:
        failed = {
            part: _align(config, work, gmm, part, folder, network.path, read_log_priors(before))
            for part in PARTS
        }
        _say_changes(open_frames(folder / "train.npy"), open_frames(before / "train.npy"), number)
        describe_labels(folder, failed, gmm.senones)


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
        data=partial(data_size, (TransferPart("train", work / "features" / "train", labels / "train.npy"),)),
    )


def _open_data(work: Path, labels: Path) -> tuple[FrameData, FrameData]:
    return open_labelled(work, "train", labels), open_labelled(work, "dev", labels)


def _align(
    config: Config, work: Path, gmm: GmmHmm, part: str, folder: Path, network: Path, log_priors: np.ndarray
) -> list[str]:
    """Write the labels of a part into `folder`; returns the ids of its utterances without any."""
    features = open_part(work / "features" / part)
    _, failed = gmm.align_scores(
        features.index,
        transcripts(work, part),
        alignment_lexicon(work),
        resolve_workers(config.workers),
        _scores(features, network, log_priors, resolve_device(config.device), config.precision),
        new_labels(folder, part, features.index),
    )
    return failed


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
    both = changed = 0
    for first in range(0, len(new), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        labelled = (new[block] >= 0) & (old[block] >= 0)
        both += int(labelled.sum())
        changed += int((new[block] != old[block])[labelled].sum())
    share = changed / max(both, 1)
    say(f"realignment round {number}: {share:.1%} of the training labels changed")
