"""Batch normalisation that does not notice over how many processes a batch is spread."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional

from asr_kd.models.mapped import is_mapped

_joint: ContextVar[bool] = ContextVar("joint", default=False)


@contextmanager
def joint_batches() -> Iterator[None]:
    """Inside, every process computes with a share of a batch, and all of them at the same time."""
    token = _joint.set(True)
    try:
        yield
    finally:
        _joint.reset(token)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy 2015) of ``(rows, channels)``.

    In training inside of `joint_batches` it takes mean and variance over the rows of all processes, as
    `torch.nn.SyncBatchNorm` does, which knows no CPU; else it is torch's.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """The same shape."""
        if is_mapped():  # where torch does not take bf16 beside float32
            return super().forward(rows.float()).to(rows.dtype)
        if not (self.training and _joint.get()):
            return super().forward(rows)
        # Where the input is bf16, as torch does: sums in float32.
        wide = rows.float()
        count, mean, variance = _joint_moments(wide.detach())
        self._follow(count, mean, variance)
        scaled: Tensor = _Normalised.apply(wide, self.weight, self.bias, count, mean, variance, self.eps)
        return scaled.to(rows.dtype)

    def _follow(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        """The running statistics, of which the variance is without bias."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


class _Normalised(torch.autograd.Function):
    """Rows of which all processes know mean and variance; backward each needs two sums of all of them.

    As one function: autograd would go through every step of it by itself.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, count: Tensor, mean: Tensor, variance: Tensor,
        eps: float,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(rows, weight, count, mean, torch.rsqrt(variance + eps))
        return functional.batch_norm(rows, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, count, mean, scale = ctx.saved_tensors
        (gradient,) = gradients
        normalised = (rows - mean).mul_(scale)
        own = torch.stack([gradient.sum(dim=0), (gradient * normalised).sum(dim=0)])
        every = own.clone()
        dist.all_reduce(every)
        # Equation of Ioffe and Szegedy 2015, section 3, with means over the rows of all processes.
        of_sum, of_product = every / count
        back = torch.addcmul(gradient, normalised, of_product, value=-1).sub_(of_sum).mul_(weight * scale)
        return back, own[1], own[0], None, None, None, None


def _joint_moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance ``(channels,)`` of the rows of all processes, in one exchange.

    Sums of squares about each process' own mean, joined as of Chan, Golub and LeVeque (1983): sums of squares
    about 0 would lose the variance of channels far from it.
    """
    own_mean = rows.mean(dim=0)
    own = torch.cat([rows.new_tensor([len(rows)]), own_mean, (rows - own_mean).square_().sum(dim=0)])
    every = own.new_zeros(dist.get_world_size(), len(own))
    every[dist.get_rank()] = own
    dist.all_reduce(every)
    counts, (means, squares) = every[:, :1], every[:, 1:].chunk(2, dim=1)
    count = counts.sum()
    mean = (counts * means).sum(dim=0) / count
    return count, mean, (squares + counts * (means - mean).square()).sum(dim=0) / count
