"""The training loop, the same for hard labels and for distillation."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr_kd.config.schema import OptimiserConfig
from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel
from asr_kd.models.devices import resolve_precision
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import save_model
from asr_kd.progress import bar, say
from asr_kd.seeding import derive_seed
from asr_kd.training.checkpoint import load_checkpoint, save_checkpoint
from asr_kd.training.data import Batch, Context, FrameData, Loader
from asr_kd.training.log import draw_curve, write_log
from asr_kd.training.metrics import evaluate
from asr_kd.training.objectives import Objective
from asr_kd.training.schedule import learning_rate

EXPLODED = 5.0  # times the first epoch's loss: that is no noise
CHECKPOINT_FILE = ".checkpoint.pt"  # a dot file: scratch that does not become part of the artefact


@dataclass
class Progress:
    """How far a training has come: with the weights and the optimiser's state, all that a resumption needs.

    No generator states: every random choice follows from the seed and the number of the update.
    """

    epoch: int = 0  # the current one, from 0
    batches: int = 0  # of the current epoch that are done
    updates: int = 0
    summed_loss: float = 0.0  # over the current epoch's updates
    largest_gradient: float = 0.0  # norm, of the current epoch's updates
    best_cross_entropy: float = math.inf
    records: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """One training: `run` writes weights, log and curve into `folder`.

    A training that was interrupted in the same folder goes on where its last checkpoint was written, and
    ends in the same bytes as one that was not (on a CPU, with the same number of threads). Read `run` first,
    then `train_epoch` and `update`.

    Args:
        model: with its initial weights.
        objective: called with logits and the targets of `train`, outside of autocast.
        train: features and the objective's targets.
        dev: features and the target ``labels``.
        settings: of optimiser and schedule.
        seed: decides order and dropout.
        device: where to compute.
        folder: an artefact in the making.
        name: of the model, for messages.
        early_stopping: write the weights of the epoch with the lowest cross entropy on dev, not the last.

    Raises:
        AsrKdError: a setting makes no sense, a label is not one of the model's senones, loss, gradient or dev
            cross entropy is not finite, or no weight learns.
    """

    def __init__(
        self,
        model: AcousticModel,
        objective: Objective,
        train: FrameData,
        dev: FrameData,
        settings: OptimiserConfig,
        seed: int,
        device: torch.device,
        folder: Path,
        name: str,
        early_stopping: bool = True,
    ) -> None:
        self.early_stopping = early_stopping
        _check(settings, train, dev, name)
        for part, data in (("train", train), ("dev", dev)):
            _check_labels(data, model.senones, f"{name}, part {part}")
        self.model, self.objective, self.dev = model.to(device), objective, dev
        self.settings, self.seed, self.device, self.folder, self.name = settings, seed, device, folder, name
        self.precision = resolve_precision(settings.precision, device, "optimiser.precision")
        self.loader = Loader(
            train,
            Context(model.left_context, model.right_context, model.chunk_frames),
            settings.batch_frames,
            settings.shard_megabytes * 1_000_000,
            seed,
            # float16 as stored where float32 is computed: half the memory, and converted a batch at a time
            torch.bfloat16 if self.precision == torch.bfloat16 else torch.float16,
            device,
        )
        self.optimiser = _optimiser(model, settings)
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}

    def run(self) -> None:
        """The whole training, from the last checkpoint on."""
        self.resume()
        while self.progress.epoch < self.settings.epochs:
            frames_a_second = self.train_epoch()
            self.finish_epoch(frames_a_second)
            self.save()
        self.model.load_state_dict(self.best_weights)
        save_model(self.folder, self.model)
        write_log(self.folder, self.progress.records)
        draw_curve(self.folder, self.progress.records, self.name)

    def train_epoch(self) -> float:
        """The rest of the current epoch; returns the frames it went through a second."""
        progress, settings = self.progress, self.settings
        batches = self.loader.batches(progress.epoch)
        self.model.train()
        frames, started = 0, time.monotonic()
        saved = started
        with bar(batches, f"{self.name} epoch {progress.epoch + 1}/{settings.epochs}") as shown:
            shown.update(progress.batches)
            for batch in self.loader.epoch(progress.epoch, skip=progress.batches):
                done = (progress.epoch + (progress.batches + 0.5) / batches) / settings.epochs
                progress.summed_loss += self.update(batch, learning_rate(done, settings))
                progress.batches += 1
                progress.updates += 1
                frames += len(batch.inputs) * self.model.chunk_frames
                shown.update()
                if time.monotonic() - saved >= settings.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
        return frames / max(time.monotonic() - started, 1e-9)

    def update(self, batch: Batch, rate: float) -> float:
        """One step of gradient descent; returns the loss."""
        # Dropout draws from torch's generator: seeded anew by the number of the update, a resumed training
        # needs no saved state to draw the same masks.
        torch.manual_seed(derive_seed(self.seed, "update", self.progress.updates))
        with self.autocast():
            inputs = batch.inputs if self.precision == torch.bfloat16 else batch.inputs.float()
            logits = self.model(inputs).flatten(0, 1)
        if batch.counted is not None:
            logits = logits[batch.counted]
        loss = self.objective(logits.float(), batch.targets)
        value = loss.item()
        if not math.isfinite(value):
            self.fail(f"the loss of update {self.progress.updates + 1} is {value}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip))
        if not math.isfinite(norm):
            self.fail(f"the gradient of update {self.progress.updates + 1} has norm {norm}")
        self.progress.largest_gradient = max(self.progress.largest_gradient, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return value

    def finish_epoch(self, frames_a_second: float) -> None:
        """Measure on dev, keep the weights if they are the best so far, and log."""
        progress = self.progress
        if progress.largest_gradient == 0.0:
            raise AsrKdError(
                f"{self.name}: in epoch {progress.epoch + 1} the loss depended on no weight, and nothing was "
                "learnt; look for labels that are missing and for weights of the objective that are 0"
            )
        self.model.eval()
        scorer: Callable[[Tensor], Tensor] = partial(log_posteriors, self.model, precision=self.precision)
        dev = evaluate(scorer, self.dev)
        if not math.isfinite(dev.cross_entropy):
            self.fail(f"the dev cross entropy is {dev.cross_entropy}")
        if dev.cross_entropy < progress.best_cross_entropy or not self.early_stopping:
            progress.best_cross_entropy = dev.cross_entropy
            self.best_weights = {key: weight.cpu().clone() for key, weight in self.model.state_dict().items()}
        record = {
            "epoch": progress.epoch + 1,
            "update": progress.updates,
            "train_loss": progress.summed_loss / progress.batches,
            "dev_cross_entropy": dev.cross_entropy,
            "dev_frame_accuracy": dev.accuracy,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
        }
        progress.records.append(record)
        write_log(self.folder, progress.records)
        say(
            f"{self.name}: epoch {progress.epoch + 1}/{self.settings.epochs}, "
            f"loss {record['train_loss']:.3f}, "
            f"dev cross entropy {dev.cross_entropy:.3f}, dev frame accuracy {100 * dev.accuracy:.2f} %, "
            f"{frames_a_second:,.0f} frames/s"
        )
        first = progress.records[0]["train_loss"]
        if record["train_loss"] > EXPLODED * max(first, 1.0):
            say(
                f"{self.name}: the loss has grown from {first:.3g} to {record['train_loss']:.3g}; "
                "lower optimiser.peak_learning_rate"
            )
        progress.epoch, progress.batches = progress.epoch + 1, 0
        progress.summed_loss = progress.largest_gradient = 0.0

    def autocast(self) -> torch.autocast:
        """Matrix products in bf16 where that is the precision; weights, sums and losses stay float32."""
        enabled = self.precision == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best_weights": self.best_weights,
        }
        save_checkpoint(self.folder / CHECKPOINT_FILE, state)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = load_checkpoint(self.folder / CHECKPOINT_FILE)
        if state is None:
            return
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best_weights = state["best_weights"]
        say(f"{self.name}: goes on at epoch {self.progress.epoch + 1}, update {self.progress.updates + 1}")

    def fail(self, what: str) -> None:
        """Stop loudly."""
        raise AsrKdError(
            f"{self.name}: in epoch {self.progress.epoch + 1} {what}; lower optimiser.peak_learning_rate, "
            "or look for features that are not finite"
        )


def _optimiser(model: AcousticModel, settings: OptimiserConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), in one fused pass; only matrices decay, biases and norms do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_learning_rate, fused=True)


def _check(settings: OptimiserConfig, train: FrameData, dev: FrameData, name: str) -> None:
    """Refuse settings and data that no training can begin with."""
    for key in ("epochs", "batch_frames", "threads"):
        if getattr(settings, key) < 1:
            raise AsrKdError(f"{name}: optimiser.{key}={getattr(settings, key)}: give at least 1")
    for key in ("peak_learning_rate", "final_learning_rate", "weight_decay", "shard_megabytes"):
        if getattr(settings, key) < 0:
            raise AsrKdError(f"{name}: optimiser.{key}={getattr(settings, key)}: give 0 or more")
    if not 0.0 <= settings.label_smoothing < 1.0:
        raise AsrKdError(f"{name}: optimiser.label_smoothing={settings.label_smoothing}: give 0 to below 1")
    if settings.gradient_clip <= 0:
        raise AsrKdError(f"{name}: optimiser.gradient_clip={settings.gradient_clip}: give a positive norm")
    if not 0.0 <= settings.warmup_fraction < 1.0:
        raise AsrKdError(f"{name}: optimiser.warmup_fraction={settings.warmup_fraction}: give 0 to below 1")
    for part, data in (("train", train), ("dev", dev)):
        if not len(data.utterances):
            raise AsrKdError(f"{name}: no utterance of part {part} can be used; look at stage align")


def _check_labels(data: FrameData, senones: int, where: str) -> None:
    """Refuse labels that are no senones of the model; -1 is a frame without one."""
    for utterance in data.utterances:
        labels = data.targets["labels"].of(utterance)
        if len(labels) and not -1 <= labels.min() <= labels.max() < senones:
            raise AsrKdError(
                f"{where}, utterance {utterance}: labels from {labels.min()} to {labels.max()}, but the "
                f"model has {senones} senones; they come from different alignments: run stage align again"
            )
