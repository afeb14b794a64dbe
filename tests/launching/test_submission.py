from pathlib import Path

import pytest

from asr_kd.launching import submission
from asr_kd.launching.order import answer
from asr_kd.launching.submission import Submission


def submitted(folder: Path, content: int = 1, number: str = "") -> Submission:
    one = Submission("member-0", folder / "order.json", {"content": content}, 1, 1)
    if number:
        one.write()
        one.submitted(number)
    return one


def test_a_job_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    submitted(tmp_path, number="7_0").log.write_text("said long ago\n")
    again = submitted(tmp_path)
    again.adopt({"7_0", "9"})
    assert (again.identifier, again.fresh) == ("7_0", False)


def test_one_that_does_something_else_is_to_be_ended(tmp_path: Path) -> None:
    submitted(tmp_path, number="7_0")
    again = submitted(tmp_path, content=2)
    again.adopt({"7_0"})
    assert (again.identifier, again.fresh) == ("", True)


def test_one_that_is_gone_is_submitted_anew_and_its_answer_forgotten(tmp_path: Path) -> None:
    answer(submitted(tmp_path, number="7_0").order, "failed")
    again = submitted(tmp_path)
    again.adopt({"8"})
    assert (again.identifier, again.fresh) == ("", True)
    again.write()
    assert again.ended({"8"}) is None


def test_one_that_is_through_but_still_in_the_queue_is_submitted_anew(tmp_path: Path) -> None:
    answer(submitted(tmp_path, number="7_0").order, "failed")
    again = submitted(tmp_path)
    again.adopt({"7_0"})
    assert (again.identifier, again.fresh) == ("", True)


def test_whole_lines_of_the_log_are_passed_on_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = submitted(tmp_path, number="7")
    one.pass_on()
    one.log.write_text("member-0: epoch 1\nmember-0: ep")
    one.pass_on()
    one.pass_on()
    assert capsys.readouterr().out == "member-0: epoch 1\n"
    with one.log.open("a") as log:
        log.write("och 2\n")
    one.pass_on()
    assert capsys.readouterr().out == "member-0: epoch 2\n"


def test_a_job_ends_with_its_answer_or_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = submitted(tmp_path, number="7")
    assert one.ended({"7"}) is None
    assert one.ended(set()) is None  # the answer may be on its way
    one.log.write_text("first\nKilled\n")
    monkeypatch.setattr(submission, "PATIENCE_SECONDS", 0.0)
    assert "job 7 ended without a word" in (said := one.ended(set()) or "") and "first / Killed" in said
    assert one.ended({"7"}) is None  # queued again
    answer(one.order, "")
    assert one.ended(set()) == ""
