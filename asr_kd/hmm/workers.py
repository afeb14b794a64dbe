"""Worker processes that keep what they work on: each shard of a corpus always goes to the same process.

Training passes over the same utterances many times; their graphs and alignments stay where they were made,
and only models and statistics travel. They are megabytes, and go to every shard and back: as files, a model
once for all shards (pipes take five times as long). Results do not depend on the number of processes.
"""

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
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
        scratch: folder for what goes between the processes, cleared away with it after a kill; none: the
            system's.
    """

    def __init__(
        self,
        workers: int,
        description: str,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
        scratch: Path | None = None,
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
        self._letters, self._numbers = TemporaryDirectory(prefix=".letters-", dir=scratch), count()

    @property
    def scratch(self) -> Path:
        """A folder that is there as long as the processes are."""
        return Path(self._letters.name)

    def __enter__(self) -> "ShardWorkers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_if_interrupted(kind)
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self._letters.cleanup()

    def run(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield ``function(shard, *arguments[shard])`` in the order of the shards.

        `function` is a module-level function. `arguments` may be made lazily: only a few shards are in work
        at a time.

        Raises:
            AsrKdError: a worker process died.
        """
        waiting: deque[tuple[Future[Path], Path]] = deque()
        known, letter = None, Path()
        for shard, shard_arguments in enumerate(arguments):
            if shard_arguments is not known:
                known, letter = shard_arguments, self.scratch / str(next(self._numbers))
                _write(letter, shard_arguments)
            with one_thread_each(), explained(self._description, LITTLE.lower):
                pool = self._pools[shard % len(self._pools)]
                waiting.append((pool.submit(_answer, function, shard, letter), letter))
            if len(waiting) > 2 * len(self._pools):
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[Future[Path], Path]]) -> Any:
        """The result of the first shard that is waited for."""
        future, letter = waiting.popleft()
        with explained(self._description, LITTLE.lower):
            answer = future.result()
        if all(letter != other for _, other in waiting):
            letter.unlink()
        content = _content(answer)
        answer.unlink()
        return content


_read: dict[Path, Any] = {}  # the last letter, in a worker process


def _answer(function: Callable[..., Any], shard: int, letter: Path) -> Path:
    """Call a function in a worker process with the arguments in a letter; the answer is a letter, too."""
    if letter not in _read:
        _read.clear()
        _read[letter] = _content(letter)
    answer = letter.with_name(f"{letter.name}-{shard}")
    _write(answer, function(shard, *_read[letter]))
    return answer


def _write(letter: Path, content: object) -> None:
    with letter.open("wb") as file:
        pickle.dump(content, file, pickle.HIGHEST_PROTOCOL)


def _content(letter: Path) -> Any:
    with letter.open("rb") as file:
        return pickle.load(file)
