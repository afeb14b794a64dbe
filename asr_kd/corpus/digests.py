"""Content hashes of audio files, each computed once."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asr_kd.artifacts import file_digest, replace_file
from asr_kd.planning import is_looking
from asr_kd.progress import track

MISSING, UNREADABLE = "missing", "unreadable"


def audio_digests(files: Iterable[str], cache: Path, workers: int) -> dict[str, str]:
    """The SHA-256 of every file, or ``"missing"`` or ``"unreadable"``: validation says why.

    A file of unchanged size and modification time is not read again: what it held is remembered in `cache`.
    """
    known = _read(cache)
    stamps = {name: _stamp(name) for name in sorted(set(files))}
    changed = [name for name, stamp in stamps.items() if stamp and known.get(name, [])[:2] != stamp]
    # Hashing lets go of the interpreter's lock, so threads are enough.
    with ThreadPoolExecutor(workers) as pool:
        hashes = track(pool.map(_digest, changed), len(changed), "hashing audio", "file")
        for name, digest in zip(changed, hashes, strict=True):
            known[name] = [*stamps[name], digest]
    if changed and not is_looking():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(cache) as temporary:
            read = [name for name, stamp in stamps.items() if stamp and known[name][2] != UNREADABLE]
            text = json.dumps({name: known[name] for name in read})
            temporary.write_text(f"{_hash(text)}\n{text}", encoding="utf-8")
    return {name: str(known[name][2]) if stamp else MISSING for name, stamp in stamps.items()}


def _read(cache: Path) -> dict[str, list[int | str]]:
    """What is remembered; nothing if it is not exactly what was written."""
    try:
        own, _, text = cache.read_text(encoding="utf-8").partition("\n")
        content: dict[str, list[int | str]] = json.loads(text) if own == _hash(text) else {}
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(name: str) -> list[int]:
    path = Path(name)
    if not path.is_file():
        return []
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _digest(name: str) -> str:
    try:
        return file_digest(Path(name))
    except OSError:
        return UNREADABLE
