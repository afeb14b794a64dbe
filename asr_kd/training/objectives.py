"""What a network is trained for. An objective is called with logits and the targets of the same frames."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from asr_kd.distillation.joint import TopKTeacher, joint_loss
from asr_kd.distillation.losses import EXCLUDED, divergence, hard_cross_entropy, top_k_teacher
from asr_kd.distillation.soft_targets import log_probabilities
from asr_kd.distillation.tails import TailShape
from asr_kd.errors import AsrKdError

Targets = Mapping[str, Tensor]


class Objective(Protocol):
    """A loss of logits ``(frames, senones)`` float32 and of targets by name; no padding gets here."""

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        """The mean over frames, a scalar.

        Args:
            logits: of some frames.
            targets: of the same.
            batch: the targets of all frames of the batch that these are a part of: then what is returned is
                their share in the mean, and the shares of all parts add up to it. None: they are all.
        """
        ...


def _shares(targets: Targets, batch: Targets | None) -> tuple[float, float | Tensor]:
    """How much of a batch a part of it is: of all its frames, and of those that have a label."""
    if batch is None:
        return 1.0, 1.0
    part, whole = targets["labels"], batch["labels"]
    labelled = (part != EXCLUDED).sum() / (whole != EXCLUDED).sum().clamp(min=1)
    return len(part) / max(len(whole), 1), labelled


@dataclass(frozen=True)
class HardObjective:
    """Cross entropy with senone labels: targets ``labels`` ``(frames,)``, -1 where a frame does not count."""

    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        """See `Objective`."""
        _, labelled = _shares(targets, batch)
        return labelled * hard_cross_entropy(logits, targets["labels"], self.label_smoothing)


@dataclass(frozen=True)
class DistillationObjective:
    """Soft targets, beside labels: two terms with independent weights.

    Targets are ``labels`` as above and, where the soft term has a weight, the columns of the soft-target
    store, see `TargetsAt`, at the objective's temperature. The hard term is a mean over the frames of a batch
    that have a label, however many there are. Reported is the divergence from the
    teacher, which differs from the cross entropy by a constant.

    Attributes:
        temperature: of teacher and student.
        soft_weight: of the divergence from the teacher, times T^2.
        hard_weight: of the cross entropy with the labels.
        label_smoothing: of the hard term.
        stored_at: the temperature of ``levels``.
        tail_shape: of ``tail``; none: the rest is one class.
    """

    temperature: float
    soft_weight: float
    hard_weight: float
    label_smoothing: float = 0.0
    stored_at: float = 1.0
    tail_shape: TailShape | None = None

    def __post_init__(self) -> None:
        if min(self.temperature, self.stored_at) <= 0:
            raise AsrKdError(f"temperature={self.temperature}: give a positive one")
        if min(self.soft_weight, self.hard_weight) < 0 or self.soft_weight + self.hard_weight == 0:
            raise AsrKdError(
                f"soft_weight={self.soft_weight}, hard_weight={self.hard_weight}: "
                "neither may be negative, and one must be positive"
            )

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        """See `Objective`."""
        share, labelled = _shares(targets, batch)
        labels, hard_weight = targets["labels"], labelled * self.hard_weight
        if not self.soft_weight:
            return hard_weight * hard_cross_entropy(logits, labels, self.label_smoothing)
        tail = None
        if self.tail_shape is not None:
            tail = self.tail_shape.to(logits.device).decode(targets["tail"], self.temperature)
        values, log_rest = log_probabilities(targets["levels"]), targets["log_rest"].float()
        teacher = TopKTeacher(targets["ids"], values, log_rest, tail, self.stored_at)
        soft_weight = share * self.soft_weight
        return joint_loss(
            logits, labels, teacher, self.temperature, soft_weight, hard_weight, self.label_smoothing
        )

    def settings(self) -> dict[str, Any]:
        """What a fingerprint holds of it: the shape of the rest is part of the soft targets."""
        return asdict(replace(self, tail_shape=None))


@dataclass(frozen=True)
class SpecialistObjective:
    """Cross entropy over a set and its dustbin; on frames of the rest a pull towards the generalist as well.

    Soft targets for what is not its own keep a specialist from forgetting what the generalist knew (after
    Hinton, Vinyals and Dean 2015, section 6.1, who give the specialist all classes for it). The generalist's
    posteriors are added up to those of the set and of all others, at T = 1, for at other temperatures a sum
    of senones is no softened class; and their odds are brought to where training sees set and dustbin
    equally often, as the labels do. So both terms ask for the same: the generalist's odds, were it right.

    Targets are ``labels`` ``(frames,)``, places in the set or the last class for the dustbin; with
    `soft_rest` also ``ids``, ``levels`` and ``log_rest`` of the generalist, see `TargetsAt`.

    Attributes:
        classes: the senones of the set, ascending.
        senones: of the recipe.
        soft_rest: weight of the divergence.
        label_smoothing: of the cross entropy.
        dustbin_shift: what is added to the dustbin's logit at use, see `training.specialists`.
    """

    classes: tuple[int, ...]
    senones: int
    soft_rest: float = 0.0
    label_smoothing: float = 0.0
    dustbin_shift: float = 0.0

    def __call__(self, logits: Tensor, targets: Targets, batch: Targets | None = None) -> Tensor:
        """See `Objective`."""
        labels = targets["labels"]
        of_all, labelled = _shares(targets, batch)
        loss = labelled * hard_cross_entropy(logits, labels, self.label_smoothing)
        if not self.soft_rest:
            return loss
        teacher = self.grouped(
            targets["ids"], log_probabilities(targets["levels"]), targets["log_rest"].float()
        )
        rest = labels == len(self.classes)
        # A mean over all frames: the two terms weigh a frame alike.
        share = of_all * rest.sum() / max(len(labels), 1)
        return loss + self.soft_rest * share * divergence(logits, teacher, 1.0, rest)

    def grouped(self, ids: Tensor, values: Tensor, log_rest: Tensor) -> Tensor:
        """Log posteriors of the set and the dustbin, ``(frames, set + 1)``, from a generalist's top k.

        As they are where both are equally frequent. What lies outside the top k counts for the dustbin; a
        class without mass gets a very small one.
        """
        place = torch.full((self.senones,), len(self.classes), device=ids.device)
        place[list(self.classes)] = torch.arange(len(self.classes), device=ids.device)
        p, rest = top_k_teacher(values, log_rest, 1.0)
        masses = p.new_zeros(len(p), len(self.classes) + 1).scatter_add_(1, place[ids.long()], p)
        masses[:, -1] += rest
        log_masses = masses.clamp(min=1e-10).log()
        log_masses[:, -1] -= self.dustbin_shift
        return log_masses.log_softmax(1)
