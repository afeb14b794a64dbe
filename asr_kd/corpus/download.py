"""Downloads: resumed where they broke off, checked by size and hash, unpacked safely, whole or absent."""

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

from asr_kd.artifacts import file_digest, replace_file
from asr_kd.errors import AsrKdError
from asr_kd.planning import check_may_make
from asr_kd.progress import bar, say

ATTEMPTS = 4  # connections that break off are resumed so many times
TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 18
# An archive that unpacks to more than so many times its size is no corpus: audio hardly shrinks.
MOST_EXPANSION = 100


@dataclass(frozen=True)
class Remote:
    """A file to download.

    Attributes:
        url: where it lies.
        checksum: ``md5:...`` or ``sha256:...`` as published; None where nobody published one: the SHA-256
            of the first download is recorded beside it, and a later download must match it.
        size: bytes, where known.
    """

    url: str
    checksum: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", maxsplit=1)[-1]


def fetch(remote: Remote, folder: Path) -> Path:
    """The file in `folder`, downloaded unless it is there already.

    Raises:
        AsrKdError: no connection, or what arrived is not what was published.
    """
    path = folder / remote.name
    if path.exists():
        return path
    check_may_make(path)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{remote.name}.partial"
    say(f"downloading {remote.url}")
    resumed = partial.exists()
    _transfer(remote, partial)
    problem = _mismatch(remote, partial, path)
    if problem and resumed:
        # The beginning may be of another version of the file than the rest.
        partial.unlink()
        _transfer(remote, partial)
        problem = _mismatch(remote, partial, path)
    if problem:
        partial.unlink()
        raise AsrKdError(
            f"{remote.url}: {problem}; it was thrown away. Try again, or set data.source to a local copy"
        )
    partial.replace(path)
    return path


def fetch_archive(remote: Remote, folder: Path) -> Path:
    """The folder that a ``.tar.gz`` was unpacked into, ``<folder>/<its name without .tar.gz>``.

    Raises:
        AsrKdError: as `fetch` and `unpack`.
    """
    unpacked = folder / remote.name.removesuffix(".tar.gz")
    if unpacked.is_dir():
        return unpacked
    check_may_make(unpacked)
    archive = fetch(remote, folder)
    say(f"unpacking {archive}")
    unpack(archive, unpacked)
    return unpacked


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into a new folder, which is there when all of it is.

    Raises:
        AsrKdError: the archive is damaged, wants to write outside the folder, or is a bomb.
    """
    partial = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter=_Bounded(archive.stat().st_size))
            while tar.fileobj and tar.fileobj.read(BLOCK_BYTES):
                pass  # to the end: there gzip has a checksum of it all
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise AsrKdError(
            f"{archive} cannot be unpacked ({error}); delete it to download it again, "
            "or set data.source to a local copy"
        ) from error
    partial.rename(folder)


class _Bounded:
    """The standard library's data filter (nothing outside the folder, no devices), with a bound on size."""

    def __init__(self, packed: int) -> None:
        """Take the size of an archive in bytes."""
        self._left = MOST_EXPANSION * packed

    def __call__(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        self._left -= member.size + tarfile.BLOCKSIZE  # of its header: empty files take room as well
        if self._left < 0:
            raise tarfile.TarError(f"{member.name}: it unpacks to more than {MOST_EXPANSION} times its size")
        return tarfile.data_filter(member, path)


def _transfer(remote: Remote, partial: Path) -> None:
    """Append to `partial` until the server has no more."""
    for attempt in range(ATTEMPTS):
        try:
            _request(remote, partial)
            return
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it was there already; the hash decides whether it is right
            raise AsrKdError(
                f"{remote.url}: the server answers {error.code} {error.reason}; "
                "set data.source to a local copy of the corpus"
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS - 1:
                raise AsrKdError(
                    f"{remote.url} cannot be downloaded ({error}). Without a network, set data.source to a "
                    "local copy of the corpus; with one, run the same command again to go on where it stopped"
                ) from error


def _request(remote: Remote, partial: Path) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else remote.size
        with partial.open("ab" if start else "wb") as file, bar(total, remote.name, "B") as progress:
            progress.update(start)
            while block := response.read(BLOCK_BYTES):
                file.write(block)
                progress.update(len(block))
    if total is not None and partial.stat().st_size < total:
        raise ConnectionError(f"{partial.stat().st_size} of {total} bytes arrived")


def _mismatch(remote: Remote, partial: Path, path: Path) -> str | None:
    """How the downloaded file differs from the published one; None if it does not."""
    size = partial.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"{size} bytes arrived instead of {remote.size}"
    if remote.checksum is None:
        return _compare_with_record(remote, partial, path.with_name(f"{path.name}.sha256"))
    algorithm, expected = remote.checksum.split(":")
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return None if found == expected else f"its {algorithm} is {found}, not {expected} as published"


def _compare_with_record(remote: Remote, partial: Path, record: Path) -> str | None:
    found = file_digest(partial)
    if record.exists():
        expected = record.read_text(encoding="utf-8").strip()
        return None if found == expected else f"its SHA-256 is {found}, not {expected} as in {record}"
    say(f"{remote.name}: no hash of this file is published; its SHA-256 {found} is recorded in {record}")
    with replace_file(record) as temporary:
        temporary.write_text(found + "\n", encoding="utf-8")
    return None
