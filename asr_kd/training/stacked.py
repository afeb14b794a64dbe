"""Several trainings of one architecture in one process, their gradients computed together.

A network that is small for a GPU leaves it idle between kernels. Stacked, the networks of an ensemble need as
many kernels as one: torch.func maps the architecture over their weights. All else (the order of the data,
optimiser, checkpoints, roll-backs) stays with each training, which yields its batches and waits for the loss.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter

import torch
from torch import Tensor
from torch.func import functional_call

from asr_kd import memory, stopping
from asr_kd.errors import AsrKdError
from asr_kd.models.mapped import mapped
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.training.loop import Steps, Work, advance

# Of trainings, and of those that cannot go on the reason.
Losses = list[float | AsrKdError]
Compute = Callable[[Sequence[Work]], Losses]
STACKING = AUTO, ALWAYS, _ = ("auto", "always", "never")  # of `train.stacked`

_WARMING, _TIMED = 3, 5  # updates of each way before "auto" chooses


def follow(trainings: Mapping[str, Steps], compute: Compute) -> dict[str, Exception]:
    """Carry out trainings, an update of each at a time.

    Args:
        trainings: by name.
        compute: the gradients of some, and their losses.

    Returns:
        What went wrong, by name; the other trainings are done.

    Raises:
        Terminated: the program was asked to stop; checkpoints are written.
    """
    failures: dict[str, Exception] = {}
    losses: dict[str, float | AsrKdError | None] = dict.fromkeys(trainings)
    waiting: dict[str, Work] = {}
    with ExitStack() as closing:
        for steps in trainings.values():
            closing.callback(steps.close)
        while losses:
            for name, loss in losses.items():
                waiting.pop(name, None)
                try:
                    if isinstance(loss, AsrKdError):
                        raise loss
                    if work := advance(trainings[name], loss):
                        waiting[name] = work
                except stopping.Terminated:
                    for other in waiting.values():
                        other.trainer.save()
                    raise
                except Exception as error:  # whatever it is, the other trainings go on, and it is reported
                    failures[name] = error
            computed = compute(list(waiting.values())) if waiting else []
            losses = dict(zip(waiting, computed, strict=True))
    return failures


def compute_alone(works: Sequence[Work]) -> Losses:
    """Gradients and losses, one training after another; one that fails leaves the others alone."""
    losses: Losses = []
    for work in works:
        try:
            losses.append(work.trainer.backward(work.batch))
        except AsrKdError as error:
            losses.append(error)
    return losses


class Stack:
    """Computes gradients and losses of several trainings: stacked, or one after another where that is faster.

    Losses and gradients are those of each training alone but for rounding, and for the masks of dropout,
    which are others.

    Args:
        setting: "always" stacks them; with "auto" both ways are timed on the first updates.
    """

    def __init__(self, setting: str) -> None:
        self._seconds: dict[Compute, list[float]] = {compute_stacked: [], compute_alone: []}
        self._settled: Compute | None = compute_stacked if setting == ALWAYS else None

    def __call__(self, works: Sequence[Work]) -> Losses:
        """See `Compute`."""
        if len(works) == 1 or not _alike(works) or self._settled is compute_alone:
            return compute_alone(works)
        try:
            return self._settled(works) if self._settled else self._timed(works)
        except (MemoryError, RuntimeError) as error:
            if not memory.is_shortage(error):
                raise
        self._settle(compute_alone, "out of memory")
        return compute_alone(works)  # which copes by itself, or does not

    def _timed(self, works: Sequence[Work]) -> Losses:
        """Compute in the way that was timed less often; after enough of both, choose."""
        way = min(self._seconds, key=lambda one: len(self._seconds[one]))
        device = works[0].trainer.device
        _wait(device)
        started = perf_counter()
        losses = way(works)
        _wait(device)
        self._seconds[way].append(perf_counter() - started)
        if min(map(len, self._seconds.values())) == _WARMING + _TIMED:
            best = {one: min(seconds[_WARMING:]) for one, seconds in self._seconds.items()}
            together, apart = best[compute_stacked], best[compute_alone]
            faster = compute_stacked if together < apart else compute_alone
            self._settle(faster, f"{1e3 * together:.2f} ms stacked, {1e3 * apart:.2f} ms one by one")
        return losses

    def _settle(self, way: Compute, why: str) -> None:
        self._settled = way
        what = "stacked" if way is compute_stacked else "one after another"
        say(f"gradients of all networks: {what} from here on ({why})")


def compute_stacked(works: Sequence[Work]) -> Losses:
    """Gradients and losses of networks of one architecture, of batches of one size, in one pass."""
    trainers = [work.trainer for work in works]
    first = trainers[0]
    for trainer in trainers:
        trainer.optimiser.zero_grad(set_to_none=True)
    # Through the stacking the gradients find their way back to the weights of each.
    weights = _stacked([dict(trainer.model.named_parameters()) for trainer in trainers])
    buffers = _stacked([dict(trainer.model.named_buffers()) for trainer in trainers])

    def forward(weights: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
        output: Tensor = functional_call(first.model, (weights, buffers), (inputs,))
        return output

    inputs = torch.stack([work.batch.inputs for work in works])
    torch.manual_seed(derive_seed(first.seed, "update", first.progress.updates))
    with first.autocast(), mapped():
        inputs = inputs if first.precision == torch.bfloat16 else inputs.float()
        logits = torch.vmap(forward, randomness="different")(weights, buffers, inputs)
    losses = [_loss(work, own) for work, own in zip(works, logits.flatten(1, 2), strict=True)]
    torch.stack(losses).sum().backward()
    for place, trainer in enumerate(trainers):
        for name, buffer in trainer.model.named_buffers():
            buffer.copy_(buffers[name][place])
    return list(torch.stack(losses).tolist())


def _stacked(named: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([tensors[name] for tensors in named]) for name in named[0]}


def _loss(work: Work, logits: Tensor) -> Tensor:
    """Of the logits ``(frames, senones)`` of a batch, frames of padding included."""
    if work.batch.counted is not None:
        logits = logits[work.batch.counted]
    return work.trainer.objective(logits.float(), work.batch.targets)


def _alike(works: Sequence[Work]) -> bool:
    """Whether batches are of one size, and none is computed in parts."""
    whole = all(work.trainer.progress.micro_chunks == 0 for work in works)
    return whole and len({work.batch.inputs.shape for work in works}) == 1


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
