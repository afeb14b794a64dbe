"""Transfer sets: what networks are trained on beside the training part, and which part of it all.

Perturbed copies ("views") of the training part and audio without transcripts are feature parts of their own,
``features/view-<name>`` and ``features/unlabelled``, made by the first stage that asks for them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.config import Config, TransferConfig, ViewConfig
from asr_kd.corpus import validate
from asr_kd.corpus.digests import audio_digests
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.corpus.unlabelled import read_unlabelled, refuse_known_speakers
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.errors import AsrKdError
from asr_kd.features.extract import Extraction, extract
from asr_kd.features.perturb import Perturbation, mask, shift_image, stretch_labels
from asr_kd.features.store import FBANK_FILE, Part, create_part, open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import resolve_workers
from asr_kd.layout import TRAIN, UNLABELLED, view_folder
from asr_kd.planning import Wanted, check_may_make, check_settled
from asr_kd.progress import say
from asr_kd.seeding import derive_seed, generator
from asr_kd.stages.data import frame_counter
from asr_kd.training.data import PLACE_BYTES, FrameData, PerFrame, held_bytes, join, labelled
from asr_kd.training.jobs import DataSize

DIGESTS_FILE, PROBLEMS_FILE = ".unlabelled-digests.json", "unlabelled-problems.txt"


@dataclass(frozen=True)
class TransferPart:
    """A part of a transfer set, as worker processes open it.

    Attributes:
        name: ``train``, ``view-<name>`` or ``unlabelled``; of its folder in ``features/``.
        features: that folder.
        labels: ``.npy`` file of the labels of the training part; None for unlabelled audio.
        original: the features of the part that is perturbed here, else None.
        targets: the folder of its soft targets; None where only labels are learnt from.
        origin: what these must have been made from.
    """

    name: str
    features: Path
    labels: Path | None
    original: Path | None = None
    targets: Path | None = None
    origin: tuple[tuple[str, str], ...] = ()

    def open_labels(self, index: FrameIndex) -> PerFrame:
        """``(frames,)`` int32; -1 where there is none."""
        if self.labels is None:
            return PerFrame(index, np.broadcast_to(np.int32(-1), index.total_frames))
        if self.original is None:
            return PerFrame(index, open_frames(self.labels, index))
        original = FrameIndex.load(self.original)
        return _StretchedLabels(index, open_frames(self.labels, original), original)

    def open(self, temperature: float | None) -> FrameData:
        """Features, labels and, at a temperature, soft targets; all utterances that can be learnt from."""
        part = open_part(self.features)
        labels = self.open_labels(part.index)
        targets = {"labels": labels}
        if temperature is None or self.targets is None:
            return FrameData(PerFrame(part.index, part.fbank), targets, labelled(labels))
        store = SoftTargets.open(self.targets, dict(self.origin))
        columns = store.at(temperature).columns()
        targets |= {name: PerFrame(store.index, array) for name, array in columns.items()}
        # An alignment that failed leaves no label, and does not keep the teachers from scoring.
        return FrameData(PerFrame(part.index, part.fbank), targets, part.index.ids)


@dataclass(frozen=True, eq=False)
class _StretchedLabels(PerFrame):
    """Labels of a perturbed copy; `array` holds those of the original, with its utterances in this order."""

    original: FrameIndex

    def of(self, utterance_id: str) -> np.ndarray:
        """See `PerFrame.of`; stretched when they are asked for."""
        own = self.array[self.original.span(self.index.position[utterance_id])]
        return stretch_labels(own, self.length(utterance_id))


def training_parts(
    config: Config, work: Path, views: Sequence[str], unlabelled: bool = False
) -> list[TransferPart]:
    """The training part and what is asked for beside it; its features are made where they are missing."""
    features, labels = work / "features", work / "align" / "labels" / "train.npy"
    parts = [TransferPart(TRAIN, features / TRAIN, labels)]
    for name in views:
        folder = make_view(config, work, name).path
        parts.append(TransferPart(folder.name, folder, labels, original=features / TRAIN))
    if unlabelled:
        parts.append(TransferPart(UNLABELLED, make_unlabelled(config, work).path, None))
    return parts


def plan_parts(
    config: Config, work: Path, views: Sequence[str], unlabelled: bool = False
) -> Iterator[Wanted]:
    """The features that `training_parts` makes, see `planning`."""
    for name in views:
        yield Wanted(view_folder(work, name), partial(_view_made_from, config, work, name))
    if unlabelled:
        yield Wanted(work / "features" / UNLABELLED, partial(_unlabelled_made_from, config, work))


def open_parts(
    parts: Sequence[TransferPart], temperature: float | None, transfer: TransferConfig, seed: int
) -> FrameData:
    """The frames that a network is trained on: of every part, the utterances that `transfer` leaves."""
    opened = [part.open(temperature) for part in parts]
    return join([_selected(part, data, transfer, seed) for part, data in zip(parts, opened, strict=True)])


def _selected(part: TransferPart, data: FrameData, transfer: TransferConfig, seed: int) -> FrameData:
    if part.name == UNLABELLED:
        return data
    chosen = choose(part.original or part.features, transfer, part.labels, seed)
    kept = [one for one in data.utterances if original_id(one, part.name) in chosen]
    if not kept:
        raise AsrKdError(f"no utterance of {part.features} is left by the settings of the transfer set")
    return replace(data, utterances=kept)


def choose(features: Path, transfer: TransferConfig, labels: Path | None, seed: int) -> set[str]:
    """The ids of the training utterances that `transfer` leaves; smaller fractions lie in larger ones."""
    index = FrameIndex.load(features)
    count = max(1, round(transfer.fraction * len(index)))
    order = generator(seed, "transfer", "fraction").permutation(len(index))[:count]
    chosen = {index.ids[place] for place in order}
    if labels is not None and (transfer.labels or transfer.without_labels):
        own = open_frames(labels, index)
        chosen = {one for one in chosen if _allowed(own[index.span(one)], transfer)}
    return chosen


def _allowed(labels: np.ndarray, transfer: TransferConfig) -> bool:
    among = not transfer.labels or bool(np.isin(labels, transfer.labels).all())
    return among and not np.isin(labels, transfer.without_labels).any()


def original_id(utterance_id: str, part: str) -> str:
    """The id in the training part of an utterance of a part."""
    return utterance_id.removesuffix(f"~{part}")


def check_transfer(config: Config, transfer: TransferConfig, setting: str, soft: bool) -> None:
    """Refuse what no transfer set can be made of, before any work is done.

    Raises:
        AsrKdError: names the setting.
    """
    if not 0 < transfer.fraction <= 1:
        raise AsrKdError(f"{setting}.fraction={transfer.fraction}: give a number above 0 and at most 1")
    check_views(config, transfer.views, f"{setting}.views")
    if transfer.unlabelled and not config.data.unlabelled:
        raise AsrKdError(f"{setting}.unlabelled=true needs data.unlabelled: a manifest or folder of audio")
    if transfer.unlabelled and not soft:
        raise AsrKdError(
            f"{setting}.unlabelled=true with soft_weight=0: without labels there is nothing to learn"
        )


def check_views(config: Config, names: Iterable[str], setting: str) -> None:
    """Refuse views that the recipe does not define."""
    for name in names:
        if name not in config.views:
            known = ", ".join(sorted(config.views)) or "none"
            raise AsrKdError(f"{setting} asks for view {name!r}; `views` has: {known}")


def _view_made_from(config: Config, work: Path, name: str) -> dict[str, Any]:
    seed = derive_seed(config.seed, "view", name)
    settings = {**_extraction_settings(config), "view": asdict(config.views[name]), "seed": seed}
    return fingerprint("view", settings, {"features": Artifact(work / "features" / TRAIN)})


def make_view(config: Config, work: Path, name: str) -> Artifact:
    """The features of a perturbed copy of the training part, in its order, ids ending in ``~view-<name>``."""
    view, path = config.views[name], view_folder(work, name)
    data, seed = work / "data" / f"{TRAIN}.jsonl", derive_seed(config.seed, "view", name)
    made_from = _view_made_from(config, work, name)
    found = find(path, made_from)
    if found is not None:
        return found
    with create(path, made_from) as folder:
        if data.is_file():
            utterances = [_renamed(one, path.name) for one in read_manifest(data)]
            perturbation = Perturbation(view.speed, view.volume_decibels, tuple(view.noise_decibels), seed)
            _extract(config, folder, utterances, perturbation)
        else:
            _copy(open_part(work / "features" / TRAIN), folder, path.name)
        _perturb_frames(folder, view, seed)
    say(f"features/{path.name}: made")
    return Artifact(path)


def _read_unlabelled(config: Config, work: Path) -> list[Utterance]:
    assert config.data.unlabelled is not None
    check_settled(work / "data")
    # Their ids may be those of the training part: files of a folder are called by their stems.
    utterances = [_renamed(one, UNLABELLED) for one in read_unlabelled(config.data.unlabelled)]
    for part in ("dev", "test"):
        refuse_known_speakers(utterances, read_manifest(work / "data" / f"{part}.jsonl"), part)
    return utterances


def _unlabelled_made_from(config: Config, work: Path) -> dict[str, Any]:
    utterances, workers = _read_unlabelled(config, work), resolve_workers(config.workers)
    digests = audio_digests([one.audio for one in utterances], work / DIGESTS_FILE, workers)
    inputs = {"utterances": _hash([[asdict(one), digests[one.audio]] for one in utterances])}
    # The dither is the only thing drawn at random.
    seed = config.seed if config.features.dither > 0 else None
    settings = {**_extraction_settings(config), "invalid": config.data.invalid, "seed": seed}
    return fingerprint("unlabelled", settings, inputs)


def make_unlabelled(config: Config, work: Path) -> Artifact:
    """The features of `data.unlabelled`, ids ending in ``~unlabelled``."""
    path, made_from = work / "features" / UNLABELLED, _unlabelled_made_from(config, work)
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


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def data_size(parts: Sequence[TransferPart]) -> DataSize:
    """How much the frames of some parts take in the memory of a training, all utterances counted."""
    total = dims = 0
    for part in parts:
        features = np.load(part.features / FBANK_FILE, mmap_mode="r", allow_pickle=False)
        files = sorted(part.targets.glob("*.npy")) if part.targets else []
        held = [features, *(np.load(file, mmap_mode="r", allow_pickle=False) for file in files)]
        per_frame = [one for one in held if len(one) == len(features)]  # not the shape of the rest
        row = sum(held_bytes(one.dtype, one.shape[1:]) for one in per_frame)
        total += len(features) * (row + np.dtype(np.int32).itemsize + PLACE_BYTES)
        dims = features.shape[1]
    return DataSize(total, dims)


def with_targets(part: TransferPart, targets: Path, origin: Mapping[str, str]) -> TransferPart:
    """The part with its soft targets, and what these must have been made from."""
    return replace(part, targets=targets, origin=tuple(sorted(origin.items())))
