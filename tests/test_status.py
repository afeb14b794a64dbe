"""What the verb `status` says of a finished run, and of one that was changed, damaged or interrupted."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr_kd import artifacts, cli, lock
from asr_kd.status import State, states
from tests.small_mini import damage, work_of


def look(settings: list[str], *more: str) -> dict[str, State]:
    """The states by the paths of the artefacts, in the work folder."""
    config = cli.load([*settings, *more])
    work = Path(config.work)
    return {state.path.relative_to(work).as_posix(): state for state in states(config, work)}


def everything(folder: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(folder.rglob("*")):
        yield str(path), path.stat().st_mtime_ns, path.stat().st_size


def test_all_of_a_finished_run_is_done_and_looking_changes_nothing(
    mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(everything(work_of(mini)))
    found = look(mini)
    assert {state.condition for state in found.values()} == {"done"}
    work = work_of(mini)
    made = {one.path.relative_to(work).as_posix() for one in artifacts.finished(work)}
    assert found.keys() == made - {"report"}
    assert cli.main(["status", *mini]) == 0
    assert "4 distill: 7 of 7 done" in capsys.readouterr().out
    assert list(everything(work)) == before


def test_a_changed_setting_is_named_and_what_follows_waits(mini: list[str]) -> None:
    found = look(mini, "features.mel_bins=24")
    conditions = {name: state.condition for name, state in found.items()}
    assert conditions["data"] == "done"
    assert {conditions[f"features/{part}"] for part in ("train", "dev", "test")} == {"stale"}
    assert "features.mel_bins 40 -> 24" in found["features/train"].why
    assert conditions["align/model"] == conditions["train/member-0"] == conditions["bench"] == "waiting"
    assert "features/train is to be made first" in found["align/model"].why


def test_another_format_of_the_code_is_named(mini: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "FORMAT", artifacts.FORMAT + 1)
    found = look(mini)
    assert "done" not in {state.condition for state in found.values()}


def test_what_does_not_depend_on_a_change_is_done(mini: list[str]) -> None:
    found = look(mini, "distill.students.student.temperature=4")
    assert found["distill/targets"].condition == "stale"
    assert "temperatures [2.0] -> [4.0]" in found["distill/targets"].why
    assert found["distill/student"].condition == "waiting"
    assert {found[name].condition for name in ("align/labels", "train/member-1", "decode/bigram/gmm")} == {
        "done"
    }


def test_a_changed_input_is_named(mini: list[str]) -> None:
    work = work_of(mini)
    manifest = artifacts.Artifact(work / "train" / "member-0").manifest
    with artifacts.create(work / "train" / "member-0", manifest["fingerprint"]) as folder:
        for file in (work / "train" / "member-0").iterdir():
            if file.name != artifacts.MANIFEST:
                shutil.copy(file, folder / file.name)
        (folder / "log.jsonl").write_text("other\n")
    found = look(mini)
    assert found["train/member-0"].condition == "done"
    assert found["distill/tail"].condition == "stale"
    assert found["distill/tail"].why == "changed: input member-0"
    assert found["distill/targets"].condition == "waiting"


def test_what_was_begun_goes_on_unless_it_was_for_something_else(mini: list[str]) -> None:
    work = work_of(mini)
    made_from = artifacts.Artifact(work / "align" / "labels").manifest["fingerprint"]
    shutil.rmtree(work / "align" / "labels")
    assert look(mini)["align/labels"].condition == "missing"
    with pytest.raises(KeyboardInterrupt), artifacts.create(work / "align" / "labels", made_from):
        raise KeyboardInterrupt
    found = look(mini)
    assert found["align/labels"].condition == "partial"
    assert found["train/member-0"].condition == "waiting"
    assert found["align/graph-bigram"].condition == "done"
    assert look(mini, "features.cepstra=12")["align/labels"].condition == "missing"


def test_a_corpus_that_is_not_there_is_not_made(mini: list[str], tmp_path: Path) -> None:
    found = look(mini, f"data.downloads={tmp_path / 'nowhere'}")
    assert found["data"].condition == "waiting"
    assert "nowhere" in found["data"].why
    assert not (tmp_path / "nowhere").exists()


def test_a_recipe_that_was_never_run_is_missing_from_the_first_stage_on(tmp_path: Path) -> None:
    settings = ["recipe=mini", f"data.downloads={tmp_path / 'corpora'}", f"work={tmp_path / 'exp'}"]
    found = look(settings)
    assert {state.condition for state in found.values()} <= {"missing", "refused", "waiting"}
    assert found["data"].condition == "missing"
    assert cli.main(["status", *settings]) == 0
    assert not list(tmp_path.iterdir())


def test_a_setting_that_means_nothing_is_refused_where_a_run_would(mini: list[str]) -> None:
    found = look(mini, "compress.int8.half_int8.network=none")
    assert found["compress"].condition == "refused"
    assert "compress.int8.half_int8.network=none" in found["compress"].why


def test_it_says_who_is_at_work(mini: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with lock.hold(work_of(mini)):
        assert cli.main(["status", *mini]) == 0
    assert "is in use by process" in capsys.readouterr().out


def test_a_flipped_bit_in_any_file_of_any_artefact_is_damage(mini: list[str]) -> None:
    """One of each kind of artefact, all of its files; see tests/recipes/test_mutations.py for the runs."""
    work, mutations = work_of(mini), 0
    seen: set[tuple[str, str]] = set()
    for artifact in artifacts.finished(work):
        kind = artifact.manifest["fingerprint"]["kind"]
        for file in sorted(artifact.path.iterdir()):
            if artifact.path.name == "report" or (kind, file.name) in seen:
                continue
            seen.add((kind, file.name))
            with damage(file, seed=mutations):
                state = look(mini)[artifact.path.relative_to(work).as_posix()]
            assert state.condition == "damaged" and file.name in state.why, file
            mutations += 1
    assert {state.condition for state in look(mini).values()} == {"done"}
    print(f"{mutations} files of {len({kind for kind, _ in seen})} kinds of artefacts: all damage is noticed")
