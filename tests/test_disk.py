"""Full, read-only and forbidden disks: named, with what to do; nothing half-written is taken for whole."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from asr_kd import artifacts, cli, disk, lock
from asr_kd.errors import AsrKdError
from asr_kd.frames import create_frames
from tests.small_disk import remount, small_disk

KILOBYTE = 1024


@pytest.fixture(name="small_disk")
def disk_of_256_kilobytes(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 256) as folder:
        yield folder


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * KILOBYTE)


def write(folder: Path, kilobytes: int) -> None:
    with artifacts.create(folder / "a", {"made": "of this"}) as partial:
        for piece in range(kilobytes):
            if not (partial / f"{piece}").exists():
                with artifacts.replace_file(partial / f"{piece}") as temporary:
                    temporary.write_bytes(b"x" * KILOBYTE)


def test_a_full_disk_is_named_and_the_work_goes_on_where_there_is_room(small_disk: Path) -> None:
    with pytest.raises(OSError) as caught:
        write(small_disk, 400)
    assert caught.value.errno == errno.ENOSPC
    assert str(small_disk) in str(caught.value.filename)
    assert artifacts.find(small_disk / "a", {"made": "of this"}) is None
    done = {file: file.stat().st_mtime_ns for file in (small_disk / ".a.partial").glob("[0-9]*")}
    assert len(done) > 10 and all(file.stat().st_size == KILOBYTE for file in done)
    remount(small_disk, "size=8000k")
    write(small_disk, 400)
    found = artifacts.find(small_disk / "a", {"made": "of this"})
    assert found is not None and len(found.manifest["files"]) == 400
    assert all((found / file.name).stat().st_mtime_ns == time for file, time in done.items())


def test_an_array_that_the_disk_has_no_room_for_is_an_error_and_no_crash(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        create_frames(small_disk / "fbank.npy", 10_000, (40,), np.float16)
    assert caught.value.filename == str(small_disk / "fbank.npy")


@pytest.mark.parametrize("unclear", [RuntimeError("failed"), OSError("2960 requested and 992 written")])
def test_a_library_that_does_not_say_why_it_cannot_write(small_disk: Path, unclear: Exception) -> None:
    def library(path: Path) -> None:
        _fill(path)
        raise unclear

    with pytest.raises(OSError, match="No space left") as caught, disk.naming(small_disk / "weights"):
        library(small_disk / "weights")
    assert caught.value.__cause__ is unclear


def test_a_read_only_folder_is_named(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remount(small_disk, "ro")
    assert cli.main(["run", "recipe=mini", f"work={small_disk}"]) == 1
    message = capsys.readouterr().err
    assert str(small_disk) in message and "Read-only file system" in message and "work=FOLDER" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "work").mkdir(mode=0o555)
    assert cli.main(["run", "recipe=mini", f"work={tmp_path / 'work'}"]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / "work") in message and "Permission denied" in message


def test_permission_denied_says_what_to_do() -> None:
    message = disk.advice(PermissionError(errno.EACCES, "Permission denied", "/data/exp/.lock"))
    assert message is not None and message.startswith("/data/exp/.lock: Permission denied; change its owner")
    assert disk.advice(OSError(errno.ENOENT, "No such file", "x")) is None


def _limited(action: Callable[[Path], None], path: Path) -> OSError:
    """The error of an action where no file may be larger than 10 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * KILOBYTE, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            action(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    return caught.value


def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    def through_an_open_file(path: Path) -> None:
        with artifacts.replace_file(path) as temporary:
            temporary.write_bytes(b"x" * 100 * KILOBYTE)

    def mapped(path: Path) -> None:
        create_frames(path, 10_000, (40,), np.float16)

    for action in (through_an_open_file, mapped):
        error = _limited(action, tmp_path / "file")
        assert (error.errno, error.filename) == (errno.EFBIG, str(tmp_path / "file"))
        assert "ulimit -f" in (disk.advice(error) or "")


def test_errors_that_are_named_already_or_are_ours_stay_as_they_are(tmp_path: Path) -> None:
    for error in (AsrKdError("ours"), OSError(errno.ENOSPC, "full", "/else"), ValueError("a defect")):
        with pytest.raises(type(error)) as caught, disk.naming(tmp_path / "a"):
            raise error
        assert caught.value is error


def test_the_lock_of_a_folder_that_is_full_is_named(small_disk: Path) -> None:
    _fill(small_disk / "rest")
    with pytest.raises(OSError, match="No space left"), lock.hold(small_disk):
        pass
