"""Artefact folders: complete or absent, made from known inputs, verified by hash.

A stage writes into a sibling folder ``.<name>.partial`` and the folder gets its own name only when all of
it is complete, with a manifest that holds the fingerprint of the settings and inputs it was made from, the
size and SHA-256 of every file, and the versions that made it. A partial folder whose fingerprint is still
right is kept after a kill, so that long work can go on inside it; one that was complete takes its name when
it is next looked for.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from asr_kd import __version__
from asr_kd.errors import AsrKdError

MANIFEST = "manifest.json"
FINGERPRINT = "fingerprint.json"
# Raised by hand when the meaning of stored files changes: older artefacts are then made again.
FORMAT = 1


def fingerprint(kind: str, settings: Any, inputs: Mapping[str, "Artifact | str"]) -> dict[str, Any]:
    """What an artefact is made from, as plain JSON data.

    Args:
        kind: what it is, e.g. ``"features"``.
        settings: the settings that decide its content (dataclass or plain data). Settings that only decide
            how fast it is made (workers, device) do not belong here.
        inputs: the artefacts (or digests of other files) it is made from, by role.
    """
    digests = {role: value.digest if isinstance(value, Artifact) else value for role, value in inputs.items()}
    return {"format": FORMAT, "kind": kind, "settings": _plain(settings), "inputs": digests}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A complete artefact folder."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of ``manifest.json``."""
        try:
            content: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise AsrKdError(
                f"{self.path} is not there or not complete; run the stage that makes it"
            ) from None
        except ValueError as error:
            raise AsrKdError(
                f"{self.path / MANIFEST} is damaged ({error}); delete {self.path} and run again"
            ) from None
        return content

    @property
    def digest(self) -> str:
        """One hash over the content of every file: equal content, equal digest."""
        return _hash_json({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

    def sha256(self, name: str) -> str:
        """The hash of one file, as the manifest has it.

        Raises:
            AsrKdError: there is no such file in the artefact.
        """
        if name not in self.manifest["files"]:
            raise AsrKdError(f"{self.path} holds no {name}: another version made it; run its stage again")
        return str(self.manifest["files"][name]["sha256"])

    def verify(self, hashes: bool = True) -> None:
        """Check every file's size and, if `hashes`, its SHA-256.

        Raises:
            AsrKdError: names the first file that is missing or differs.
        """
        for name, entry in self.manifest["files"].items():
            file = self.path / name
            if not file.is_file():
                raise AsrKdError(f"{file} is missing; delete {self.path} and run its stage again")
            same = file.stat().st_size == entry["bytes"] and (
                not hashes or file_digest(file) == entry["sha256"]
            )
            if not same:
                raise AsrKdError(
                    f"{file} is damaged: it is not the file that was written; "
                    f"delete {self.path} and run its stage again"
                )

    def __truediv__(self, name: str) -> Path:
        return self.path / name


def find(path: Path, expected: Mapping[str, Any]) -> Artifact | None:
    """The artefact at `path`, its files verified, if it is complete and made from exactly `expected`.

    One that a kill kept from its name, though it was complete, is given it.
    """
    if found := _verified(path, expected):
        _clear(path)
        return found
    if _verified(_partial(path), expected):
        _publish(_partial(path), path)
        return Artifact(path)
    return None


def finished(folder: Path) -> list[Artifact]:
    """All artefacts in `folder` and below it; not those that a kill kept from their names."""
    manifests = sorted(folder.rglob(MANIFEST))
    return [
        Artifact(manifest.parent)
        for manifest in manifests
        if not any(part.startswith(".") for part in manifest.relative_to(folder).parts)
    ]


def _verified(path: Path, expected: Mapping[str, Any]) -> Artifact | None:
    artifact = Artifact(path)
    if not (path / MANIFEST).exists():
        return None
    if artifact.manifest["fingerprint"] != json.loads(json.dumps(expected)):
        return None
    artifact.verify()
    return artifact


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The dotted names of values that are not the same in two nested mappings."""
    flat_old, flat_new = _flatten(json.loads(json.dumps(old))), _flatten(json.loads(json.dumps(new)))
    return sorted(
        name for name in flat_old.keys() | flat_new.keys() if flat_old.get(name) != flat_new.get(name)
    )


@contextmanager
def create(path: Path, made_from: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to write an artefact into; on a clean exit it becomes `path`, on an error it stays partial.

    What an interrupted run left behind is kept when it was made from the same inputs, so the body may find
    finished pieces in it; whoever writes pieces must write each atomically (see `replace_file`).
    """
    partial = _partial(path)
    expected = json.loads(json.dumps(made_from))
    mark = partial / FINGERPRINT
    if partial.exists() and not (mark.exists() and _read_json(mark) == expected):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    with replace_file(mark) as temporary:
        temporary.write_text(json.dumps(expected), encoding="utf-8")
    # Nothing is complete while the body writes.
    (partial / MANIFEST).unlink(missing_ok=True)
    yield partial
    _complete(partial, expected)
    _publish(partial, path)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary sibling that takes the place of `path`, whole, on a clean exit."""
    # The suffix stays: some writers choose their format by it.
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _complete(partial: Path, expected: Mapping[str, Any]) -> None:
    """Write the manifest: from here on the folder is whole, whatever its name."""
    files = sorted(file for file in partial.rglob("*") if file.is_file() and not _is_scratch(file, partial))
    for file in files:
        _sync(file)
    entries = {
        file.relative_to(partial).as_posix(): {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in files
    }
    manifest = {"fingerprint": expected, "files": entries, "versions": {"asr_kd": __version__}}
    with replace_file(partial / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _publish(partial: Path, path: Path) -> None:
    """Give a complete folder its name; what had it goes, and so does scratch, when nothing can be lost."""
    old = _old(path)
    if path.exists():
        _remove(old)
        path.rename(old)
    partial.rename(path)
    _clear(path)


def _clear(path: Path) -> None:
    """Remove what is no part of a finished artefact: scratch of its body, and what had its name before."""
    for scratch in [file for file in path.rglob("*") if _is_scratch(file, path)]:
        if scratch.is_dir():
            shutil.rmtree(scratch)
        else:
            scratch.unlink(missing_ok=True)
    _remove(_old(path))


def _remove(path: Path) -> None:
    """What is there, if anything; of a link (see `sweep`) the link alone."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _is_scratch(file: Path, folder: Path) -> bool:
    """Dot files and folders of the body (checkpoints, temporary pieces), and the mark of a partial folder."""
    return file == folder / FINGERPRINT or any(
        part.startswith(".") for part in file.relative_to(folder).parts
    )


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _hash_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
