"""Time that passes only when somebody works."""

from collections.abc import Callable
from typing import Any


class Clock:
    """Stands for `time.perf_counter`."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        """What does `work`, in so many seconds."""

        def worked(*arguments: Any) -> Any:
            self.now += seconds
            return work(*arguments)

        return worked
