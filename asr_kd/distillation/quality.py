"""How well systems classify frames: by speaker, raw and at a temperature tuned on dev."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_kd.artifacts import create
from asr_kd.distillation.calibration import add_bias, fit_bias, fit_temperature
from asr_kd.distillation.teachers import LoadedTeachers, Teachers, sample, sampled_frames
from asr_kd.features.store import open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.specialists.sets import SpecialistSets

QUALITY_FILE = "quality.json"
PARTS = ("dev", "test")
# With more classes a table of errors by class says nothing.
_MOST_CLASSES = 50


@dataclass(frozen=True)
class QualityJob:
    """A system to measure.

    Attributes:
        name: of the system.
        path: the artefact to make.
        made_from: its fingerprint.
        system: a network, or several that are averaged.
        work: of the recipe, with ``features`` and ``align/labels``.
        device: where to compute.
        unseen: classes that its training never showed it: their bias is tuned on dev, see `fit_bias`.
        sets: folder of the specialists' sets, to measure by how many know the label; none: there are none.
    """

    name: str
    path: Path
    made_from: Mapping[str, Any]
    system: Teachers
    work: Path
    device: str
    unseen: tuple[int, ...] = ()
    sets: Path | None = None


@dataclass
class Sums:
    """Of some frames with labels.

    Attributes:
        frames: how many.
        correct: of these, given their label.
        cross_entropy: in nats, summed.
        calibrated: the same at the tuned temperature.
        correct_with_bias: as `correct`, with the tuned bias.
        correct_among_covered: where a specialist knows the label, as `correct`, but the most probable one is
            looked for among senones that specialists know.
    """

    frames: int = 0
    correct: int = 0
    cross_entropy: float = 0.0
    calibrated: float = 0.0
    correct_with_bias: int = 0
    correct_among_covered: int = 0

    def add(self, other: "Sums") -> None:
        """Count the frames of `other` as well."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Tuned:
    """What dev told of a system."""

    temperature: float
    unseen: tuple[int, ...] = ()
    bias: float = 0.0

    def measure(self, log_posteriors: Tensor, labels: Tensor) -> Sums:
        """Count frames with a label; log posteriors ``(frames, senones)``, labels ``(frames,)``."""
        counted = labels >= 0
        scores, wanted = log_posteriors[counted], labels[counted].long()
        softened = (scores / self.temperature).log_softmax(-1)
        biased = add_bias(scores, self.unseen, self.bias) if self.unseen else scores
        raw, calibrated = (
            -float(x.gather(1, wanted[:, None]).sum(dtype=torch.float64)) for x in (scores, softened)
        )
        correct, with_bias = (int((x.argmax(1) == wanted).sum()) for x in (scores, biased))
        return Sums(len(wanted), correct, raw, calibrated, with_bias)


@dataclass
class PartQuality:
    """A system on one part, by speaker and, where there are few, by class.

    With specialists also by ``<how many know the label>/<speaker>``.
    """

    speakers: dict[str, Sums] = field(default_factory=dict)
    classes: dict[int, Sums] = field(default_factory=dict)
    covered: dict[str, Sums] = field(default_factory=dict)


def measure_system(job: QualityJob) -> None:
    """Write ``quality.json`` of a system; the function of a worker process."""
    torch.set_num_threads(1)
    system = LoadedTeachers(job.system, job.device)
    tuned = _tune(system, job)
    covering = torch.from_numpy(SpecialistSets.read(job.sets).covering) if job.sets else None
    content = {
        "system": job.name,
        "parameters": system.parameter_count,
        "temperature": tuned.temperature,
        "bias": tuned.bias if job.unseen else None,
        "parts": {part: _plain(_measure_part(system, tuned, job.work, part, covering)) for part in PARTS},
    }
    with create(job.path, job.made_from) as folder:
        (folder / QUALITY_FILE).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _tune(system: LoadedTeachers, job: QualityJob) -> Tuned:
    features, labels = job.work / "features" / "dev", job.work / "align" / "labels" / "dev.npy"
    frames = sampled_frames(FrameIndex.load(features), job.system)
    sampled = list(sample(lambda speech: system.mean(speech).cpu(), features, labels, frames))
    scores, wanted = (torch.cat(pieces) for pieces in zip(*sampled, strict=True))
    temperature = fit_temperature(scores, wanted)
    return Tuned(temperature, job.unseen, fit_bias(scores, wanted, job.unseen) if job.unseen else 0.0)


def _measure_part(
    system: LoadedTeachers, tuned: Tuned, work: Path, part: str, covering: Tensor | None
) -> PartQuality:
    features = open_part(work / "features" / part)
    labels = open_frames(work / "align" / "labels" / f"{part}.npy", features.index)
    quality = PartQuality()
    for place, (_, span) in enumerate(features.index.spans()):
        scores = system.mean(features.fbank[span]).cpu()
        own = torch.from_numpy(np.array(labels[span]))
        speaker = quality.speakers.setdefault(features.index.speakers[place], Sums())
        speaker.add(tuned.measure(scores, own))
        if covering is not None:
            _add_covered(quality, features.index.speakers[place], tuned, (scores, own), covering)
        if scores.size(1) <= _MOST_CLASSES:
            for label in own[own >= 0].unique().tolist():
                of_class = quality.classes.setdefault(label, Sums())
                of_class.add(tuned.measure(scores[own == label], own[own == label]))
    return quality


def _add_covered(
    quality: PartQuality, speaker: str, tuned: Tuned, frames: tuple[Tensor, Tensor], covering: Tensor
) -> None:
    """Count frames (scores and labels) by how many specialists, `covering`, know their label."""
    scores, labels = (one[frames[1] >= 0] for one in frames)
    known = covering[labels.long()]
    among_covered = scores.masked_fill(covering == 0, -torch.inf).argmax(1) == labels
    for count in known.unique().tolist():
        here = known == count
        sums = quality.covered.setdefault(f"{count}/{speaker}", Sums())
        sums.add(tuned.measure(scores[here], labels[here]))
        sums.correct_among_covered += int(among_covered[here].sum())


def _plain(quality: PartQuality) -> dict[str, Any]:
    """As JSON: a list of sums by speaker and by class, in the order of `Sums`."""
    return {
        key: {str(name): list(vars(sums).values()) for name, sums in sorted(units.items())}
        for key, units in vars(quality).items()
    }


def total(units: Iterable[Sums]) -> Sums:
    """The sums of all."""
    everything = Sums()
    for one in units:
        everything.add(one)
    return everything
