"""The training loop, the same for hard labels and for distillation."""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from asr_kd import memory, stopping
from asr_kd.config.schema import OptimiserConfig
from asr_kd.errors import AsrKdError
from asr_kd.models import AcousticModel
from asr_kd.models.devices import resolve_precision
from asr_kd.models.inference import log_posteriors
from asr_kd.models.metrics import FrameMetrics
from asr_kd.models.storage import save_model
from asr_kd.progress import bar, say
from asr_kd.seeding import derive_seed
from asr_kd.training.accumulation import backward, normalises_batches
from asr_kd.training.checkpoint import (
    CHECKPOINT_FILE,
    EPOCH_FILE,
    Progress,
    load_checkpoint,
    save_checkpoint,
)
from asr_kd.training.checks import WHOLE, check_labels, check_settings, check_share, micro_frames
from asr_kd.training.data import FrameData
from asr_kd.training.loader import Batch, Context, Loader
from asr_kd.training.log import draw_curve, write_log
from asr_kd.training.metrics import evaluate
from asr_kd.training.objectives import Objective
from asr_kd.training.processes import ALONE, Group, own_gradients
from asr_kd.training.schedule import learning_rate

EXPLODED = 5.0  # times the first epoch's loss: that is no noise
ROLL_BACK_RATE = 0.5  # times the learning rate, after every return to an earlier epoch


class DivergedError(AsrKdError):
    """A training whose numbers are no longer any good."""


class Work(NamedTuple):
    """What a training waits for: the gradient of a batch in the weights of its network."""

    trainer: "Trainer"
    batch: Batch


# Of a whole training: yields work, and is sent the loss when that is done.
Steps = Generator[Work, float, None]


def advance(steps: Steps, loss: float | None = None) -> Work | None:
    """What a training waits for next; None: it has ended.

    Args:
        steps: of the training.
        loss: of what it waited for; at first none.
    """
    try:
        return next(steps) if loss is None else steps.send(loss)
    except StopIteration:
        return None


def run_alone(steps: Steps) -> None:
    """Carry out one training by itself."""
    work = advance(steps)
    while work:
        work = advance(steps, work.trainer.backward(work.batch))


class Trainer:
    """One training: `run` writes weights, log and curve into `folder`.

    A training that was interrupted in the same folder goes on where its last checkpoint was written, and
    ends in the same bytes as one that was not (on a CPU, with the same number of threads). Read `steps`
    first, then `epoch_steps`, `backward` and `step`.

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
        group: the processes that train this model together, each with a trainer of its own.

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
        group: Group = ALONE,
    ) -> None:
        self.early_stopping, self.group = early_stopping, group
        check_settings(settings, train, dev, name)
        for part, data in (("train", train), ("dev", dev)):
            check_labels(data, model.senones, f"{name}, part {part}")
        self.objective = objective
        # Each process measures on its share.
        self.dev = replace(dev, utterances=dev.utterances[group.rank :: group.size])
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
            group,
        )
        check_share(settings, self.loader.batch_chunks, group.size, name)
        self.model = model.to(device)
        self.shared = group.network(model, device)  # the same network, its gradients averaged
        self.network = torch.compile(self.shared) if settings.compile else self.shared
        self.optimiser = _optimiser(model, settings)
        self.progress = Progress(micro_chunks=-(-micro_frames(settings, name) // model.chunk_frames))
        self.best_weights: dict[str, Tensor] = {}

    def run(self) -> None:
        """The whole training, from the last checkpoint on."""
        run_alone(self.steps())

    def steps(self) -> Steps:
        """As `run`, but leaves `backward` to whoever follows the steps: see `stacked`."""
        self.resume()
        while self.progress.epoch < self.settings.epochs:
            try:
                self.finish_epoch((yield from self.epoch_steps()))
            except DivergedError as error:
                self.roll_back(error)
            self.save()
        self.model.load_state_dict(self.best_weights)
        if self.group.leads:
            save_model(self.folder, self.model)
            write_log(self.folder, self.progress.records)
            draw_curve(self.folder, self.progress.records, self.name)
        self.group.wait()  # others may read what was written

    def epoch_steps(self) -> Generator[Work, float, float]:
        """The rest of the current epoch; returns the frames it went through a second."""
        progress, settings = self.progress, self.settings
        batches = self.loader.batches(progress.epoch)
        self.model.train()
        chunks, started = 0, time.monotonic()
        saved = started
        shown_name = f"{self.name} epoch {progress.epoch + 1}/{settings.epochs}"
        with bar(batches, shown_name) as shown, stopping.deferred() as stop:
            shown.update(progress.batches)
            for batch in self.loader.epoch(progress.epoch, skip=progress.batches):
                done = (progress.epoch + (progress.batches + 0.5) / batches) / settings.epochs
                loss = yield Work(self, batch)
                progress.summed_loss += self.step(loss, learning_rate(done, settings), stop)
                progress.batches += 1
                progress.updates += 1
                chunks += batch.place.chunks if batch.place else len(batch.inputs)
                shown.update()
                if stop.asked or time.monotonic() - saved >= settings.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
                if stop.asked:
                    break
        return chunks * self.model.chunk_frames / max(time.monotonic() - started, 1e-9)

    def update(self, batch: Batch, rate: float) -> float:
        """One update by itself; returns the loss."""
        return self.step(self.backward(batch), rate, stopping.Deferred())

    def step(self, loss: float, rate: float, stop: stopping.Deferred) -> float:
        """One step of gradient descent, after `backward`; returns the loss over all processes.

        Where one process is asked to stop, `stop` says so to all of them: the next update needs each.
        """
        summed, asked = self.group.sum(loss, float(stop.asked))
        value, stop.asked = summed / self.group.size, asked > 0
        if not math.isfinite(value):
            self.fail(f"the loss of update {self.progress.updates + 1} is {value}")
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip))
        if not math.isfinite(norm):
            self.fail(f"the gradient of update {self.progress.updates + 1} has norm {norm}")
        self.progress.largest_gradient = max(self.progress.largest_gradient, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * ROLL_BACK_RATE**self.progress.roll_backs
        self.optimiser.step()
        return value

    def backward(self, batch: Batch) -> float:
        """Loss and gradient of a batch, in as many parts as memory asks for.

        Raises:
            AsrKdError: memory runs out, and the batch may not be divided (any further).
        """
        # Seeded by the number of the update: a resumed training needs no saved state to draw the same masks.
        seed = derive_seed(self.seed, "update", self.progress.updates)
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            chunks = self.progress.micro_chunks or len(batch.inputs)
            try:
                hold = partial(own_gradients, self.shared)
                return backward(self.logits, self.objective, batch, chunks, seed, hold)
            except (MemoryError, RuntimeError) as error:
                if not memory.is_shortage(error):
                    raise
                # Without its traceback, whose frames hold what was computed.
                shortage = error.with_traceback(None)
            self.divide(min(chunks, len(batch.inputs)), shortage)

    def logits(self, inputs: Tensor) -> Tensor:
        """``(chunks, window, dims)`` -> ``(frames, senones)``, frames of padding included."""
        with self.autocast():
            inputs = inputs if self.precision == torch.bfloat16 else inputs.float()
            logits: Tensor = self.network(inputs).flatten(0, 1)
        return logits

    def divide(self, chunks: int, shortage: BaseException) -> None:
        """Compute half as many chunks at once from here on: so many were too many."""
        normalises = normalises_batches(self.model)
        least = 2 if normalises else 1
        # Of several processes the others wait for this one's sums: it cannot begin anew by itself.
        if self.settings.micro_batch != WHOLE or chunks <= least or self.group.size > 1:
            lower = "optimiser.micro_batch" if chunks > least else "the size of the model, or `workers`"
            raise AsrKdError(
                f"{self.name}: out of memory with {chunks * self.model.chunk_frames} frames at a time; "
                f"lower {lower}, and run again: this training begins anew then"
            ) from shortage
        self.progress.micro_chunks = -(-chunks // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        note = "; batch normalisation sees these" if normalises else ""
        say(
            f"{self.name}: out of memory with {chunks * self.model.chunk_frames} frames at a time, goes on "
            f"with {self.micro_frames} and adds up their gradients{note}"
        )

    @property
    def micro_frames(self) -> int:
        """Frames that are computed at once, where these are not all of a batch; else 0."""
        return self.progress.micro_chunks * self.model.chunk_frames

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
        correct, nats, frames = self.group.sum(*evaluate(scorer, self.dev))
        dev = FrameMetrics(round(correct), nats, round(frames))
        if not math.isfinite(dev.cross_entropy):
            self.fail(f"the dev cross entropy is {dev.cross_entropy}")
        self.check_growth(progress.summed_loss / progress.batches)
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
        unusual = {"roll_backs": progress.roll_backs, "micro_batch": self.micro_frames}
        record |= {key: value for key, value in unusual.items() if value}
        progress.records.append(record)
        if self.group.leads:
            write_log(self.folder, progress.records)
        say(
            f"{self.name}: epoch {progress.epoch + 1}/{self.settings.epochs}, "
            f"loss {record['train_loss']:.3f}, "
            f"dev cross entropy {dev.cross_entropy:.3f}, dev frame accuracy {100 * dev.accuracy:.2f} %, "
            f"{frames_a_second:,.0f} frames/s"
        )
        progress.epoch, progress.batches = progress.epoch + 1, 0
        progress.summed_loss = progress.largest_gradient = 0.0

    def check_growth(self, loss: float) -> None:
        """An epoch's loss that has exploded is a reason to roll back; without roll-backs left it is said."""
        first = self.progress.records[0]["train_loss"] if self.progress.records else loss
        if loss <= EXPLODED * max(first, 1.0):
            return
        grown = f"the loss has grown from {first:.3g} to {loss:.3g}"
        if self.progress.roll_backs < self.settings.roll_backs:
            self.fail(grown)
        say(f"{self.name}: {grown}; lower optimiser.peak_learning_rate")

    def roll_back(self, error: DivergedError) -> None:
        """Return to the end of the last good epoch, with a lower learning rate from there on.

        Raises:
            DivergedError: `error`, after as many roll-backs as `roll_backs` allows.
        """
        used = self.progress.roll_backs + 1
        if used > self.settings.roll_backs:
            raise error
        state = load_checkpoint(self.folder / EPOCH_FILE)
        if state is None:
            raise error
        micro_chunks = self.progress.micro_chunks
        self.restore(state)
        self.progress.roll_backs, self.progress.micro_chunks = used, micro_chunks
        where = f"end of epoch {self.progress.epoch}" if self.progress.epoch else "beginning"
        say(
            f"{error}\n{self.name}: back to the {where}, roll-back {used} of {self.settings.roll_backs}: "
            f"the learning rate is {ROLL_BACK_RATE**used:g} of what it was"
        )

    def autocast(self) -> torch.autocast:
        """Matrix products in bf16 where that is the precision; weights, sums and losses stay float32."""
        enabled = self.precision == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def save(self) -> None:
        """Write a checkpoint; at the end of an epoch also the one that is rolled back to."""
        if not self.group.leads:
            return
        state = {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best_weights": self.best_weights,
        }
        # First this one: where a kill comes between the two, the older checkpoint leads here again.
        if self.settings.roll_backs and not self.progress.batches:
            save_checkpoint(self.folder / EPOCH_FILE, state)
        save_checkpoint(self.folder / CHECKPOINT_FILE, state)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = load_checkpoint(self.folder / CHECKPOINT_FILE)
        self.group.wait()  # until all have read it, before one writes
        if state is None:
            if self.settings.roll_backs:
                self.save()
            return
        self.restore(state)
        say(f"{self.name}: goes on at epoch {self.progress.epoch + 1}, update {self.progress.updates + 1}")

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best_weights = state["best_weights"]

    def fail(self, what: str) -> NoReturn:
        """Roll back, or stop loudly."""
        raise DivergedError(
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
