"""Worker processes that keep what they work on: each shard of a corpus always goes to the same process.

Training passes over the same utterances many times; their graphs and alignments stay where they were made,
and only models and statistics travel. Results do not depend on the number of processes.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any

from asr_kd.jobs import LITTLE, end_if_interrupted, explained, one_thread_each, start_worker


class ShardWorkers:
    """Processes with one thread each; a context manager.

    Args:
        workers: how many processes.
        description: what they do, for error messages.
        initializer: a module-level function that each process calls first.
        initargs: its arguments.
    """

    def __init__(
        self, workers: int, description: str, initializer: Callable[..., None], initargs: tuple[Any, ...]
    ) -> None:
        self._description = description
        self._pools = [
            ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(initializer, initargs),
            )
            for _ in range(workers)
        ]

    def __enter__(self) -> "ShardWorkers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_if_interrupted(kind)
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield ``function(shard, *arguments[shard])`` in the order of the shards.

        `function` is a module-level function. `arguments` may be made lazily: only a few shards are in work
        at a time.

        Raises:
            AsrKdError: a worker process died.
        """
        waiting: deque[Future[Any]] = deque()
        for shard, shard_arguments in enumerate(arguments):
            with one_thread_each(), explained(self._description, LITTLE.lower):
                pool = self._pools[shard % len(self._pools)]
                waiting.append(pool.submit(function, shard, *shard_arguments))
            if len(waiting) > 2 * len(self._pools):
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def _result(self, future: Future[Any]) -> Any:
        with explained(self._description, LITTLE.lower):
            return future.result()
