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

from asr_kd import __version__, disk, lock
from asr_kd.errors import AsrKdError
from asr_kd.planning import check_may_make, check_settled, is_looking

MANIFEST = "manifest.json"
FINGERPRINT = "fingerprint.json"
# Raised by hand when the meaning of stored files changes, or the program makes something else of the same
# settings and inputs: older artefacts are then made again. That of all kinds, and of kinds that went ahead.
FORMAT = 1
FORMATS = {
    "decoding": 2,  # the acoustic scale is the bottom of a parabola, not the best trial
    "frames": 2,  # counts correct ones among the senones of specialists
    "specialist": 2,  # soft targets have the odds of training; epochs of chunked networks are shorter
    "specialist sets": 2,  # no set has every labelled frame
}
_TEMPORARY = ".tmp."  # in the names of files that are being written
_MANIFEST_KEYS = {"fingerprint", "files", "versions"}


def fingerprint(kind: str, settings: Any, inputs: Mapping[str, "Artifact | str"]) -> dict[str, Any]:
    """What an artefact is made from, as plain JSON data.

    Args:
        kind: what it is, e.g. ``"features"``.
        settings: the settings that decide its content (dataclass or plain data). Settings that only decide
            how fast it is made (workers, device) do not belong here.
        inputs: the artefacts (or digests of other files) it is made from, by role.
    """
    digests = {role: value.digest if isinstance(value, Artifact) else value for role, value in inputs.items()}
    own = FORMATS.get(kind, FORMAT)
    return {"format": own, "kind": kind, "settings": _plain(settings), "inputs": digests}


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
        """The content of ``manifest.json``, but for its own hash.

        Raises:
            AsrKdError: it is not there, or not what was written.
        """
        check_settled(self.path)
        try:
            content: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            own = content.pop("sha256", None)  # none: written before manifests had one
            if content.keys() != _MANIFEST_KEYS or own not in (None, hash_json(content)):
                raise ValueError("not what was written")
            for name, entry in content["files"].items():
                inside = (self.path / name).relative_to(self.path).parts
                if ".." in inside or not {"bytes", "sha256"} <= entry.keys():
                    raise ValueError(f"no file of the folder: {name!r}")
        except (FileNotFoundError, NotADirectoryError):
            raise AsrKdError(
                f"{self.path} is not there or not complete; run the stage that makes it"
            ) from None
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise AsrKdError(
                f"{self.path / MANIFEST} is damaged ({error}); delete {self.path} and run again"
            ) from None
        return content

    @property
    def digest(self) -> str:
        """One hash over the content of every file: equal content, equal digest."""
        return hash_json({name: entry["sha256"] for name, entry in self.manifest["files"].items()})

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

    def check_version(self) -> None:
        """That this version of the program would make the same of the same settings and inputs.

        Raises:
            AsrKdError: names the artefact.
        """
        made_from = self.manifest["fingerprint"]
        if made_from.get("format", FORMAT) < FORMATS.get(str(made_from.get("kind")), FORMAT):
            raise AsrKdError(
                f"{self.path} was made by an earlier version of the program, which made something else of "
                "the same settings; run its stage again, or delete it if the recipe no longer has it"
            )

    def __truediv__(self, name: str) -> Path:
        return self.path / name


def find(path: Path, expected: Mapping[str, Any]) -> Artifact | None:
    """The artefact at `path`, its files verified, if it is complete and made from exactly `expected`.

    One that a kill kept from its name, though it was complete, is given it.
    """
    if found := _verified(path, expected):
        if not is_looking():
            _clear(path)
        return found
    if not is_looking() and _verified(partial_folder(path), expected):
        _publish(partial_folder(path), path)
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
    artifact.verify(hashes=not is_looking())
    return artifact


def begun(path: Path) -> dict[str, Any] | None:
    """What the artefact that a kill left unfinished at `path` was to be made from, if there is one."""
    mark = partial_folder(path) / FINGERPRINT
    return _read_json(mark) if mark.exists() else None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not the same in two nested mappings: both values, None for none, by dotted name."""
    flat_old, flat_new = _flatten(json.loads(json.dumps(old))), _flatten(json.loads(json.dumps(new)))
    both = {name: (flat_old.get(name), flat_new.get(name)) for name in sorted(flat_old | flat_new)}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The dotted names of what is not the same in two nested mappings.

    A mapping that only one of the two has is named as a whole, not by what is in it.
    """
    sides = [_flatten(json.loads(json.dumps(one))) for one in (old, new)]
    inner = [{prefix for name in side for prefix in _prefixes(name)} for side in sides]
    named = (
        next(
            prefix for prefix in _prefixes(name) if prefix == name or any(prefix not in one for one in inner)
        )
        for name in changes(old, new)
    )
    return list(dict.fromkeys(named))


def _prefixes(name: str) -> list[str]:
    """``a.b.c`` gives ``a``, ``a.b`` and ``a.b.c``."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


@contextmanager
def create(path: Path, made_from: Mapping[str, Any]) -> Iterator[Path]:
    """A folder to write an artefact into; on a clean exit it becomes `path`, on an error it stays partial.

    What an interrupted run left behind is kept when it was made from the same inputs, so the body may find
    finished pieces in it; whoever writes pieces must write each atomically (see `replace_file`).

    Raises:
        AsrKdError: another process is writing the same artefact.
        OSError: with the path, where the disk is full or may not be written to.
    """
    check_may_make(path)
    partial = partial_folder(path)
    expected = json.loads(json.dumps(made_from))
    with disk.naming(partial), _only_writer(partial):
        mark = partial / FINGERPRINT
        if not (mark.exists() and _read_json(mark) == expected):
            _empty(partial)
        with replace_file(mark) as temporary:
            temporary.write_text(json.dumps(expected), encoding="utf-8")
        # Nothing is complete while the body writes.
        (partial / MANIFEST).unlink(missing_ok=True)
        yield partial
        _complete(partial, expected)
        _publish(partial, path)


def partial_folder(path: Path) -> Path:
    """Where the files of an artefact are written before it is `path`."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Hold the system's lock on a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not lock.take(handle):
            raise AsrKdError(
                f"{folder} is being written by another run; wait for it and run the same command again"
            )
        yield
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """A temporary sibling that takes the place of `path`, whole, on a clean exit."""
    # The suffix stays: some writers choose their format by it.
    temporary = path.with_name(f".{os.getpid()}{_TEMPORARY}{path.name}")
    try:
        with disk.naming(path):
            yield temporary
            _sync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what `replace_file` left in `folder` when it was killed. Nobody else may be writing there."""
    for file in folder.glob(f".*{_TEMPORARY}*"):
        file.unlink()


def _complete(partial: Path, expected: Mapping[str, Any]) -> None:
    """Write the manifest: from here on the folder is whole, whatever its name."""
    files = sorted(file for file in partial.rglob("*") if file.is_file() and not _is_scratch(file, partial))
    for file in files:
        _sync(file)
    entries = {
        file.relative_to(partial).as_posix(): {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in files
    }
    manifest: dict[str, Any] = {
        "fingerprint": expected,
        "files": entries,
        "versions": {"asr_kd": __version__},
    }
    manifest["sha256"] = hash_json(manifest)
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


def hash_json(content: Any) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat.update(_flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
