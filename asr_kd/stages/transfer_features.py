"""Features of transfer sets beside those of the training part.

Audio without transcripts is ``features/unlabelled``; a perturbed copy ("view") of the training part is
``features/view-<name>``, one of the audio without transcripts ``features/unlabelled-view-<name>``. The first
stage that asks for one makes it.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import Artifact, create, find, fingerprint, hash_json
from asr_kd.config import Config, ViewConfig
from asr_kd.corpus import validate
from asr_kd.corpus.digests import audio_digests
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.corpus.unlabelled import read_unlabelled, refuse_known_speakers
from asr_kd.errors import AsrKdError
from asr_kd.features.extract import Extraction, extract
from asr_kd.features.perturb import Perturbation, mask, shift_image
from asr_kd.features.store import Part, create_part, open_part
from asr_kd.jobs import resolve_workers
from asr_kd.layout import TRAIN, UNLABELLED, view_folder
from asr_kd.planning import check_may_make, check_settled
from asr_kd.progress import say
from asr_kd.seeding import derive_seed, generator
from asr_kd.stages.data import frame_counter

DIGESTS_FILE, PROBLEMS_FILE = ".unlabelled-digests.json", "unlabelled-problems.txt"


def view_made_from(config: Config, work: Path, name: str, original: str = TRAIN) -> dict[str, Any]:
    """The fingerprint of what `make_view` makes."""
    seed = derive_seed(config.seed, "view", name)
    settings = {**_extraction_settings(config), "view": asdict(config.views[name]), "seed": seed}
    return fingerprint("view", settings, {"features": Artifact(work / "features" / original)})


def make_view(config: Config, work: Path, name: str, original: str = TRAIN) -> Artifact:
    """The features of a perturbed copy, in the order of the original, ids ending in ``~`` and its folder's.

    Args:
        config: of the recipe.
        work: its folder.
        name: of the view in `views`.
        original: what is copied: ``train`` or ``unlabelled``, whose features are there.
    """
    view, path = config.views[name], view_folder(work, name, original)
    seed, made_from = derive_seed(config.seed, "view", name), view_made_from(config, work, name, original)
    found = find(path, made_from)
    if found is not None:
        return found
    with create(path, made_from) as folder:
        if original == UNLABELLED or (work / "data" / f"{TRAIN}.jsonl").is_file():
            utterances = [_renamed(one, path.name) for one in _utterances(config, work, original)]
            perturbation = Perturbation(view.speed, view.volume_decibels, tuple(view.noise_decibels), seed)
            _extract(config, folder, utterances, perturbation)
        else:
            _copy(open_part(work / "features" / original), folder, path.name)
        _perturb_frames(folder, view, seed)
    say(f"features/{path.name}: made")
    return Artifact(path)


def unlabelled_made_from(config: Config, work: Path) -> dict[str, Any]:
    """The fingerprint of what `make_unlabelled` makes."""
    utterances, workers = _read_unlabelled(config, work), resolve_workers(config.workers)
    digests = audio_digests([one.audio for one in utterances], work / DIGESTS_FILE, workers)
    inputs = {"utterances": hash_json([[asdict(one), digests[one.audio]] for one in utterances])}
    # The dither is the only thing drawn at random.
    seed = config.seed if config.features.dither > 0 else None
    settings = {**_extraction_settings(config), "invalid": config.data.invalid, "seed": seed}
    return fingerprint("unlabelled", settings, inputs)


def make_unlabelled(config: Config, work: Path) -> Artifact:
    """The features of `data.unlabelled`, ids ending in ``~unlabelled``."""
    path, made_from = work / "features" / UNLABELLED, unlabelled_made_from(config, work)
    found = find(path, made_from)
    if found is not None:
        return found
    check_may_make(path)
    utterances, workers = _read_unlabelled(config, work), resolve_workers(config.workers)
    measured, problems = validate.check_audio(
        {UNLABELLED: utterances}, config.data.sample_rate, config.data.resample, workers
    )
    problems += validate.check_frames(measured, frame_counter(config))
    if config.data.invalid == "refuse":
        validate.refuse(problems, work / PROBLEMS_FILE, "; data.invalid=skip leaves such audio out")
    validate.set_aside(problems, work / PROBLEMS_FILE)
    kept = validate.without(measured, problems)[UNLABELLED]
    if not kept:
        raise AsrKdError(f"data.unlabelled={config.data.unlabelled}: no valid audio is left: {problems[0]}")
    with create(path, made_from) as folder:
        _extract(config, folder, kept, None)
    say(f"features/{UNLABELLED}: {len(kept)} utterances without transcripts")
    return Artifact(path)


def _utterances(config: Config, work: Path, part: str) -> list[Utterance]:
    """Those of a part that has features."""
    if part == TRAIN:
        return read_manifest(work / "data" / f"{TRAIN}.jsonl")
    kept = set(open_part(work / "features" / part).index.ids)
    return [one for one in _read_unlabelled(config, work) if one.id in kept]


def _read_unlabelled(config: Config, work: Path) -> list[Utterance]:
    assert config.data.unlabelled is not None
    check_settled(work / "data")
    # Their ids may be those of the training part: files of a folder are called by their stems.
    utterances = [_renamed(one, UNLABELLED) for one in read_unlabelled(config.data.unlabelled)]
    for part in ("dev", "test"):
        refuse_known_speakers(utterances, read_manifest(work / "data" / f"{part}.jsonl"), part)
    return utterances


def _extraction_settings(config: Config) -> dict[str, Any]:
    return {
        "features": asdict(config.features),
        "sample_rate": config.data.sample_rate,
        "resample": config.data.resample,
    }


def _extract(
    config: Config, folder: Path, utterances: Sequence[Utterance], perturbation: Perturbation | None
) -> None:
    extraction = Extraction(
        config.features,
        config.data.sample_rate,
        config.data.resample,
        config.device,
        config.seed,
        perturbation,
    )
    extract({folder: utterances}, extraction, resolve_workers(config.workers))


def _renamed(utterance: Utterance, part: str) -> Utterance:
    return replace(utterance, id=f"{utterance.id}~{part}")


def _copy(original: Part, folder: Path, part: str) -> None:
    """The frames of a corpus without audio."""
    index = replace(original.index, ids=tuple(f"{one}~{part}" for one in original.index.ids))
    copy = create_part(folder, index, original.fbank.shape[1], original.mfcc.shape[1])
    copy.fbank[:] = original.fbank
    copy.mfcc[:] = original.mfcc


def _perturb_frames(folder: Path, view: ViewConfig, seed: int) -> None:
    """What is done to features and not to audio."""
    if not (view.frequency_masks or view.time_masks or view.shift_pixels):
        return
    part = open_part(folder, writable=True)
    masks = (view.frequency_masks, view.frequency_width, view.time_masks, view.time_width)
    for utterance_id, span in part.index.spans():
        random = generator(seed, "frames", utterance_id)
        frames = np.array(part.fbank[span])
        if view.shift_pixels:
            frames = np.stack([shift_image(row, view.shift_pixels, random) for row in frames])
        part.fbank[span] = mask(frames, random, *masks)
