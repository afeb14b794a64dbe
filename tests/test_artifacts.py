"""Artefacts are whole, made from known inputs, or refused by name."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asr_kd import artifacts, planning
from asr_kd.errors import AsrKdError


@dataclass
class Settings:
    bins: int = 40


def write(path: Path, text: str = "content", bins: int = 40) -> dict[str, object]:
    made_from = artifacts.fingerprint("kind", Settings(bins), {"input": "digest"})
    with artifacts.create(path, made_from) as folder:
        (folder / "inner").mkdir(exist_ok=True)
        (folder / "inner" / "file.txt").write_text(text)
    return made_from


def test_complete_artefact_is_found_again(tmp_path: Path) -> None:
    made_from = write(tmp_path / "a")
    found = artifacts.find(tmp_path / "a", made_from)
    assert found is not None
    assert (found / "inner/file.txt").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_changed_setting_or_input_is_noticed_and_named(tmp_path: Path) -> None:
    write(tmp_path / "a", bins=40)
    for changed in (
        artifacts.fingerprint("kind", Settings(80), {"input": "digest"}),
        artifacts.fingerprint("kind", Settings(40), {"input": "other"}),
    ):
        assert artifacts.find(tmp_path / "a", changed) is None
    changed = artifacts.fingerprint("kind", Settings(80), {"input": "other"})
    made_from = artifacts.Artifact(tmp_path / "a").manifest["fingerprint"]
    assert artifacts.differences(made_from, changed) == ["inputs.input", "settings.bins"]


def test_what_is_there_once_is_named_as_a_whole() -> None:
    settings = {"students": {"one": {"seed": 0, "optimiser": {"epochs": 3}}}, "average": "arithmetic"}
    two = {"seed": 1, "optimiser": {"epochs": 3, "threads": 1}}
    more = {"students": settings["students"] | {"two": two}, "average": "geometric"}
    assert artifacts.differences(settings, more) == ["average", "students.two"]
    assert artifacts.differences(more, settings) == ["average", "students.two"]
    of_one = {"students": {"one": {"seed": 4, "optimiser": {"epochs": 4}}}, "average": "arithmetic"}
    assert artifacts.differences(settings, of_one) == ["students.one.optimiser.epochs", "students.one.seed"]


def test_what_another_version_of_the_program_made_of_the_same_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_from = write(tmp_path / "a")
    monkeypatch.setitem(artifacts.FORMATS, "kind", 2)
    changed = artifacts.fingerprint("kind", Settings(40), {"input": "digest"})
    assert artifacts.find(tmp_path / "a", changed) is None
    assert artifacts.differences(made_from, changed) == ["format"]


def test_hash_of_one_file_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "a")
    artifact = artifacts.Artifact(tmp_path / "a")
    assert artifact.sha256("inner/file.txt") == artifacts.file_digest(artifact / "inner/file.txt")
    with pytest.raises(AsrKdError, match=r"holds no other\.txt.*run its stage again"):
        artifact.sha256("other.txt")


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    made_from = write(tmp_path / "a")
    file = tmp_path / "a" / "inner" / "file.txt"
    if damage == "delete":
        file.unlink()
    else:
        file.write_text("Content" if damage == "flip" else "conten")
    with pytest.raises(AsrKdError, match=r"inner/file\.txt"):
        artifacts.find(tmp_path / "a", made_from)


def test_damaged_manifest_is_refused_by_name(tmp_path: Path) -> None:
    made_from = write(tmp_path / "a")
    (tmp_path / "a" / "manifest.json").write_text("{")
    with pytest.raises(AsrKdError, match=r"manifest\.json"):
        artifacts.find(tmp_path / "a", made_from)


@pytest.mark.parametrize("place", range(0, 500, 7))
def test_a_manifest_with_a_flipped_bit_is_not_believed(tmp_path: Path, place: int) -> None:
    made_from = write(tmp_path / "a")
    manifest = tmp_path / "a" / "manifest.json"
    content = bytearray(manifest.read_bytes())
    content[place % len(content)] ^= 1 << place % 8
    manifest.write_bytes(content)
    with pytest.raises(AsrKdError, match=r"manifest\.json is damaged"):
        artifacts.find(tmp_path / "a", made_from)


def test_a_manifest_of_an_earlier_version_has_no_hash_of_its_own(tmp_path: Path) -> None:
    made_from = write(tmp_path / "a")
    manifest = tmp_path / "a" / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["sha256"]
    manifest.write_text(json.dumps(content))
    assert artifacts.find(tmp_path / "a", made_from) is not None


def test_two_runs_do_not_write_one_artefact(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "a", {}) as folder:
        (folder / "piece").touch()
        with (
            pytest.raises(AsrKdError, match="being written by another run"),
            artifacts.create(tmp_path / "a", {}),
        ):
            pass
    assert (tmp_path / "a" / "piece").exists()


def test_nothing_is_written_while_looking(tmp_path: Path) -> None:
    made_from = write(tmp_path / "a", bins=40)
    with planning.looking() as unsettled:
        assert artifacts.find(tmp_path / "a", made_from) is not None
        with (
            pytest.raises(planning.UnsettledError, match="b is to be made"),
            artifacts.create(tmp_path / "b", {}),
        ):
            pass
        unsettled.add(tmp_path / "a")
        with pytest.raises(planning.UnsettledError, match="a is to be made"):
            artifacts.fingerprint("kind", {}, {"a": artifacts.Artifact(tmp_path / "a")})
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    with artifacts.replace_file(tmp_path / "a") as temporary:
        temporary.touch()
        (tmp_path / temporary.name.replace("tmp.a", "tmp.b")).touch()
    artifacts.remove_temporaries(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_interrupted_work_stays_partial_and_goes_on(tmp_path: Path) -> None:
    made_from = artifacts.fingerprint("kind", Settings(), {})
    with pytest.raises(KeyboardInterrupt), artifacts.create(tmp_path / "a", made_from) as folder:
        (folder / "piece").write_text("done")
        raise KeyboardInterrupt
    assert artifacts.find(tmp_path / "a", made_from) is None
    with artifacts.create(tmp_path / "a", made_from) as folder:
        assert (folder / "piece").read_text() == "done"
    assert artifacts.find(tmp_path / "a", made_from) is not None


class Killer:
    """Kills the process, so to speak, before the n-th change that is made to the disk."""

    CHANGES = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, survive: int) -> None:
        self.left = survive
        for name in self.CHANGES:
            monkeypatch.setattr(os, name, partial(self._change, getattr(os, name)))

    def _change(self, change: Callable[..., None], *arguments: Any, **named: Any) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        change(*arguments, **named)


def resume(path: Path, made_from: dict[str, object]) -> bool:
    """What a stage does: look for the artefact, else make it; whether the long work had to be done."""
    if artifacts.find(path, made_from):
        return False
    with artifacts.create(path, made_from) as folder:
        worked = not (folder / ".checkpoint").exists()
        if worked:
            (folder / "result").write_text(json.dumps(made_from["settings"]))
            (folder / ".checkpoint").mkdir()
            (folder / ".checkpoint" / "state").touch()
    return worked


@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_at_any_step_loses_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    before, now = (artifacts.fingerprint("kind", {"bins": bins}, {}) for bins in (40, 80))
    for survive in range(100):
        path = tmp_path / str(survive) / "a"
        if replaces:
            assert resume(path, before)
        begun = {"long": False}
        with monkeypatch.context() as patched:
            Killer(patched, survive)
            try:
                with artifacts.create(path, now) as folder:
                    (folder / "result").write_text(json.dumps(now["settings"]))
                    (folder / ".checkpoint").mkdir()
                    (folder / ".checkpoint" / "state").touch()
                    begun["long"] = True
            except KeyboardInterrupt:
                pass
            else:
                assert survive > 5
                break
        # Killed again while it recovers, and then left alone.
        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            Killer(patched, survive % 3)
            assert not (resume(path, now) and begun["long"])
        assert not (resume(path, now) and begun["long"])
        assert json.loads((path / "result").read_text()) == {"bins": 80}
        assert {file.name for file in path.parent.iterdir()} == {"a"}
        assert {file.name for file in path.iterdir()} == {"result", "manifest.json"}
    else:
        pytest.fail("never came to its end")


def test_what_a_kill_kept_from_its_name_is_not_taken_for_finished(tmp_path: Path) -> None:
    for name in ("train/member-0", "train/.member-1.partial", "train/.member-0.old"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    assert [artifact.path.name for artifact in artifacts.finished(tmp_path)] == ["member-0"]


def test_pieces_made_from_other_settings_are_not_used(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), artifacts.create(tmp_path / "a", {"settings": 1}) as folder:
        (folder / "piece").write_text("old")
        raise RuntimeError
    with artifacts.create(tmp_path / "a", {"settings": 2}) as folder:
        assert not (folder / "piece").exists()


def test_new_artefact_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", "old", bins=40)
    old = artifacts.Artifact(tmp_path / "a").digest
    write(tmp_path / "a", "new", bins=80)
    assert artifacts.Artifact(tmp_path / "a").digest != old
    assert (tmp_path / "a" / "inner" / "file.txt").read_text() == "new"


def test_equal_content_has_equal_digest_whatever_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "a", bins=40)
    write(tmp_path / "b", bins=80)
    assert artifacts.Artifact(tmp_path / "a").digest == artifacts.Artifact(tmp_path / "b").digest


def test_scratch_files_do_not_become_part_of_it(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "a", {}) as folder:
        (folder / ".checkpoint").write_text("scratch")
        (folder / "model").write_text("kept")
    assert list(artifacts.Artifact(tmp_path / "a").manifest["files"]) == ["model"]
    assert not (tmp_path / "a" / ".checkpoint").exists()


def test_replaced_file_is_whole_or_untouched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), artifacts.replace_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_copy_of_an_artefact_is_still_valid(tmp_path: Path) -> None:
    made_from = write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert artifacts.find(tmp_path / "b", made_from) is not None
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["fingerprint"] == made_from
