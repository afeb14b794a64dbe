import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asr_kd.corpus import download
from asr_kd.corpus.download import Remote, fetch, fetch_archive
from asr_kd.errors import AsrKdError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one content under every name, from any byte on; breaks off `breaks` times."""

    content = CONTENT
    ranges = True
    breaks = 0
    limit = 300_000

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.path.endswith("none"):
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        rest = self.server.content[start:]
        self.send_response(206 if wanted and self.server.ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: self.server.limit]
        self.wfile.write(rest)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.breaks = 2
    path = fetch(Remote(f"{server.url}/a.bin", f"sha256:{SHA256}", len(CONTENT)), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]
    fetch(Remote(f"{server.url}/a.bin"), tmp_path / "new")
    assert len(server.asked) == 3  # what is there is not downloaded again


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path):
    server.breaks, server.ranges = 1, False
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert fetch(Remote(f"{server.url}/a.bin", f"md5:{md5}"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left_behind", [b"of another version", CONTENT + b"more"])
def test_what_an_earlier_run_left_may_be_wrong(server: Server, tmp_path: Path, left_behind: bytes):
    (tmp_path / ".a.bin.partial").write_bytes(left_behind)
    assert fetch(Remote(f"{server.url}/a.bin", f"sha256:{SHA256}"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("remote", "message"),
    [({"checksum": "md5:" + "0" * 32}, "its md5 is"), ({"size": 5}, "bytes arrived instead of 5")],
)
def test_what_was_not_published_is_thrown_away(server: Server, tmp_path: Path, remote: dict, message: str):
    with pytest.raises(AsrKdError, match=rf"a\.bin.*{message}"):
        fetch(Remote(f"{server.url}/a.bin", **remote), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_without_a_published_hash_the_first_download_is_recorded(server: Server, tmp_path: Path):
    remote = Remote(f"{server.url}/a.bin")
    fetch(remote, tmp_path).unlink()
    assert (tmp_path / "a.bin.sha256").read_text().strip() == SHA256
    server.content = b"something else"
    with pytest.raises(AsrKdError, match=r"not .* as in .*a\.bin\.sha256"):
        fetch(remote, tmp_path)


def test_without_a_connection_a_local_copy_is_advised(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(AsrKdError, match=r"404.*data\.source"):
        fetch(Remote(f"{server.url}/none"), tmp_path)
    server.breaks, server.limit = 100, 0
    with pytest.raises(AsrKdError, match=r"cannot be downloaded.*set data\.source"):
        fetch(Remote(f"{server.url}/a.bin"), tmp_path)
    assert len(server.asked) == 1 + download.ATTEMPTS


def archive(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("UP", ".."))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_an_archive_is_unpacked_once(server: Server, tmp_path: Path):
    server.content = archive(an4__a=b"A", an4__b__c=b"C")
    remote = Remote(f"{server.url}/an4_raw.tar.gz")
    folder = fetch_archive(remote, tmp_path)
    assert folder == tmp_path / "an4_raw"
    assert (folder / "an4" / "b" / "c").read_bytes() == b"C"
    assert fetch_archive(remote, tmp_path) == folder and len(server.asked) == 1


def archive_of(**fields: object) -> bytes:
    """An archive of one member that is no file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo("a")
        for name, value in fields.items():
            setattr(info, name, value)
        tar.addfile(info)
    return packed.getvalue()


def damaged_inside() -> bytes:
    """The compressed stream goes wrong in the middle of a member."""
    packed = bytearray(archive(a=hashlib.shake_128(b"A").digest(5000)))
    packed[2000:2100] = bytes(100)
    return bytes(packed)


HOSTILE = {
    "climbing out": archive(a=b"A", UP__outside=b"!"),
    "cut short": archive(a=b"A" * 1000)[:-20],
    "no archive": b"no tar",
    "damaged inside": damaged_inside(),
    "link to outside": archive_of(type=tarfile.SYMTYPE, linkname="../../outside"),
    "absolute link": archive_of(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link to outside": archive_of(type=tarfile.LNKTYPE, linkname="../../outside"),
    "device": archive_of(type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "bomb": archive(a=bytes(10_000_000)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)  # not their content: it holds the time
def test_hostile_and_damaged_archives_are_refused(server: Server, tmp_path: Path, content: bytes):
    server.content = content
    with pytest.raises(AsrKdError, match=r"bad\.tar\.gz cannot be unpacked"):
        fetch_archive(Remote(f"{server.url}/bad.tar.gz"), tmp_path / "inside")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "inside" / "outside").exists()
    assert not (tmp_path / "inside" / "bad").exists()
    assert not (tmp_path / "inside" / ".bad.unpacking").exists()
