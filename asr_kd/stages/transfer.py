"""Transfer sets: what networks are trained on beside the training part, and which part of it all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from asr_kd.config import Config, TransferConfig
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.errors import AsrKdError
from asr_kd.features.perturb import stretch_labels
from asr_kd.features.store import FBANK_FILE, open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.layout import TRAIN, UNLABELLED, view_folder
from asr_kd.planning import Wanted
from asr_kd.seeding import generator
from asr_kd.stages import given_frames
from asr_kd.stages.transfer_features import (
    make_unlabelled,
    make_view,
    unlabelled_made_from,
    view_made_from,
)
from asr_kd.training.data import PLACE_BYTES, FrameData, PerFrame, held_bytes, join, labelled
from asr_kd.training.jobs import DataSize


@dataclass(frozen=True)
class TransferPart:
    """A part of a transfer set, as worker processes open it.

    Attributes:
        name: of its folder in ``features/``: ``train``, ``view-<name>``, ``unlabelled`` or
            ``unlabelled-view-<name>``.
        features: that folder.
        labels: ``.npy`` file of the labels of the training part; None for audio without transcripts.
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
    train, audio = work / "features" / TRAIN, work / "features" / UNLABELLED
    labels = work / "align" / "labels" / "train.npy"
    parts = [TransferPart(TRAIN, train, labels)]
    for name in views:
        folder = make_view(config, work, name).path
        parts.append(TransferPart(folder.name, folder, labels, original=train))
    if unlabelled:
        parts.append(TransferPart(UNLABELLED, make_unlabelled(config, work).path, None))
        copies = [make_view(config, work, name, UNLABELLED).path for name in views]
        parts += [TransferPart(folder.name, folder, None, original=audio) for folder in copies]
    return parts


def plan_parts(
    config: Config, work: Path, views: Sequence[str], unlabelled: bool = False
) -> Iterator[Wanted]:
    """The features that `training_parts` makes, see `planning`."""
    for name in views:
        yield Wanted(view_folder(work, name), partial(view_made_from, config, work, name))
    if unlabelled:
        yield Wanted(work / "features" / UNLABELLED, partial(unlabelled_made_from, config, work))
        for name in views:
            made_from = partial(view_made_from, config, work, name, UNLABELLED)
            yield Wanted(view_folder(work, name, UNLABELLED), made_from)


def open_parts(
    parts: Sequence[TransferPart], temperature: float | None, transfer: TransferConfig, seed: int
) -> FrameData:
    """The frames that a network is trained on: of every part, the utterances that `transfer` leaves."""
    opened = [part.open(temperature) for part in parts]
    return join([_selected(part, data, transfer, seed) for part, data in zip(parts, opened, strict=True)])


def _selected(part: TransferPart, data: FrameData, transfer: TransferConfig, seed: int) -> FrameData:
    if part.labels is None:
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
    if transfer.unlabelled not in ("auto", "always", "never"):
        raise AsrKdError(f"{setting}.unlabelled={transfer.unlabelled}: give auto, always or never")
    if transfer.unlabelled == "always" and not config.data.unlabelled:
        raise AsrKdError(f"{setting}.unlabelled=always needs data.unlabelled: a manifest or folder of audio")
    if transfer.unlabelled == "always" and not soft:
        raise AsrKdError(
            f"{setting}.unlabelled=always with soft_weight=0: without labels there is nothing to learn"
        )


def check_views(config: Config, names: Iterable[str], setting: str) -> None:
    """Refuse views that the recipe does not define."""
    for name in names:
        if name not in config.views:
            known = ", ".join(sorted(config.views)) or "none"
            raise AsrKdError(f"{setting} asks for view {name!r}; `views` has: {known}")
        view = config.views[name]
        if given_frames.is_given(config) and (view.speed != 1 or view.volume_decibels or view.noise_decibels):
            raise AsrKdError(
                f"views.{name}: this corpus gives frames, not audio whose speed, volume or noise could change"
            )


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
