"""Batch normalisation that does not notice over how many processes a batch is spread."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

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
        if not (self.training and _joint.get()):
            return super().forward(rows)
        # Where the input is bf16, as torch does: sums in float32.
        wide = rows.float()
        count, mean, variance = _joint_moments(wide)
        self._follow(count.detach(), mean.detach(), variance.detach())
        scaled = (wide - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return scaled.to(rows.dtype)

    def _follow(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        """The running statistics, of which the variance is without bias."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


def _joint_moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance ``(channels,)`` of the rows of all processes, in one exchange.

    Sums of squares about each process' own mean, joined as of Chan, Golub and LeVeque (1983): sums of squares
    about 0 would lose the variance of channels far from it.
    """
    # Here: it brings much that only such trainings need. This sum knows its gradient.
    from torch.distributed.nn.functional import all_reduce

    own_mean = rows.mean(dim=0)
    own = torch.cat([rows.new_tensor([len(rows)]), own_mean, (rows - own_mean).square().sum(dim=0)])
    every = own.new_zeros(dist.get_world_size(), len(own))
    every = all_reduce(every.index_copy(0, torch.tensor([dist.get_rank()], device=own.device), own[None]))
    counts, (means, squares) = every[:, :1], every[:, 1:].chunk(2, dim=1)
    count = counts.sum()
    mean = (counts * means).sum(dim=0) / count
    return count, mean, (squares + counts * (means - mean).square()).sum(dim=0) / count
