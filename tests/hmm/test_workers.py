import os
import signal
from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.hmm.workers import ShardWorkers

_seen: list[int] = []


def _initialise(start: int) -> None:
    _seen[:] = [start]


def _remember(shard: int, amount: int) -> list[int]:
    _seen.append(amount)
    return list(_seen)


def _die(shard: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_shard_meets_the_same_process_again() -> None:
    with ShardWorkers(2, "test", _initialise, (100,)) as pool:
        first = list(pool.run(_remember, [(1,), (2,), (3,)]))
        second = list(pool.run(_remember, [(4,), (5,), (6,)]))
    assert first == [[100, 1], [100, 2], [100, 1, 3]]
    assert second == [[100, 1, 3, 4], [100, 2, 5], [100, 1, 3, 4, 6]]


def test_letters_are_read_and_gone() -> None:
    with ShardWorkers(2, "test", _initialise, (100,)) as pool:
        letters = Path(pool._letters.name)
        alike = [(1,)] * 7
        assert list(pool.run(_remember, alike))[-1] == [100, 1, 1, 1, 1]
        assert list(pool.run(_remember, [(number,) for number in range(7)]))[-1][-2:] == [4, 6]
        assert not list(letters.iterdir())
    assert not letters.exists()


def test_a_dead_process_is_reported() -> None:
    with (
        ShardWorkers(1, "alignment", _initialise, (0,)) as pool,
        pytest.raises(AsrKdError, match="alignment: a worker"),
    ):
        list(pool.run(_die, [()]))
