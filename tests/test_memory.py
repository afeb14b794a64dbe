"""Sizes, limits of machine and containers, and how many workers there is room for."""

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from asr_kd import memory
from asr_kd.errors import AsrKdError
from asr_kd.memory import affordable, available, budget, budgeted, parse_size, private, private_of_tree

MEMINFO = "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """A file system of some files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4 GB", 4e9),
        ("4g", 4e9),
        ("1.5 GiB", 1.5 * 2**30),
        ("500MB", 5e8),
        ("250000000", 2.5e8),
        (" 2 TB ", 2e12),
    ],
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert parse_size(text, "memory_budget") == size


@pytest.mark.parametrize("text", ["", "much", "4 XB", "-1 GB", "0 GB", "4 GB 3", "1e9"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(AsrKdError, match=r"memory_budget=.*: give a size such as"):
        parse_size(text, "memory_budget")


def test_without_limits_the_machine_decides(tmp_path: Path) -> None:
    assert available(tree(tmp_path, {"proc/meminfo": MEMINFO})) == 8_000_000 * 1024


def test_nobody_tells(tmp_path: Path) -> None:
    assert available(tmp_path) is None


def test_the_tightest_group_of_version_2_decides(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/batch/job\n",
        "sys/fs/cgroup/batch/job/memory.max": "max\n",
        "sys/fs/cgroup/batch/job/memory.current": "5\n",
        "sys/fs/cgroup/batch/job/memory.stat": "inactive_file 0\n",
        "sys/fs/cgroup/batch/memory.max": "4000000000\n",
        "sys/fs/cgroup/batch/memory.current": "3000000000\n",
        "sys/fs/cgroup/batch/memory.stat": "anon 1\ninactive_file 500000000\n",
    }
    # 4 GB less the 2.5 that cannot be given up.
    assert available(tree(tmp_path, files)) == 1_500_000_000


def test_a_group_of_version_1_decides_also_where_a_container_sees_it_as_the_top(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000000\n",
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100000000\n",
    }
    assert available(tree(tmp_path, files)) == 1_400_000_000


def test_a_limit_beyond_all_memory_is_none(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "4:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "7\n",
        "sys/fs/cgroup/memory/memory.stat": "\n",
    }
    assert available(tree(tmp_path, files)) == 8_000_000 * 1024


def test_the_budget_decides_how_many_workers_there_are() -> None:
    own = private(os.getpid())
    with budgeted(str(own + 3_500_000_000)):
        assert budget().given
        assert affordable(8, 1_000_000_000, "training", "x") == 3
        assert affordable(2, 1_000_000_000, "training", "x") == 2
        assert affordable(8, 0, "training", "x") == 8
        assert 0 <= memory.room(2, 1_000_000_000) <= 750_000_000
    assert not budget().given


def test_a_budget_without_room_for_one_worker_names_what_to_lower() -> None:
    with (
        budgeted("1 GB"),
        pytest.raises(AsrKdError, match=r"training: .* 2\.0 GB.* or lower shard_megabytes"),
    ):
        affordable(8, 2_000_000_000, "training", "shard_megabytes")


def test_what_is_available_has_room_for_one_worker_at_least() -> None:
    with budgeted("auto"):
        assert affordable(8, 1 << 60, "training", "x") == 1


def test_private_memory_is_what_is_written_to() -> None:
    before = private(os.getpid())
    block = bytearray(50_000_000)
    block[::4096] = b"x" * len(block[::4096])
    assert 45_000_000 < private(os.getpid()) - before < 60_000_000
    assert private_of_tree(os.getpid()) >= private(os.getpid()) - 10_000_000


def test_a_watch_sees_the_peak() -> None:
    with memory.Watch(seconds=0.01) as watch:
        before = private(os.getpid())
        block = bytearray(b"x") * 80_000_000
        time.sleep(0.1)
        del block
    assert watch.peak - before > 70_000_000


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
        ),
    ],
)
def test_a_shortage_becomes_a_message_that_names_a_setting(error: Exception) -> None:
    message = r"training: out of memory.*; lower large"
    with pytest.raises(AsrKdError, match=message), memory.naming("training", "large"):
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory.naming("training", "x"):
        raise RuntimeError("shape mismatch")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_was_freed_is_given_back() -> None:
    pieces = [bytes(50_000) for _ in range(4000)]
    held = memory.private(os.getpid())
    del pieces[:-1]  # the last keeps the heap from shrinking by itself
    memory.give_back()
    assert memory.private(os.getpid()) < held - 150_000_000
