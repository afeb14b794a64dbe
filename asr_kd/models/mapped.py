"""Networks that are computed over the stacked weights of several (torch.func), see `training.stacked`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_mapped: ContextVar[bool] = ContextVar("mapped", default=False)


@contextmanager
def mapped() -> Iterator[None]:
    """Inside, layers do without what torch cannot map."""
    token = _mapped.set(True)
    try:
        yield
    finally:
        _mapped.reset(token)


def is_mapped() -> bool:
    """Whether inside of `mapped`."""
    return _mapped.get()
