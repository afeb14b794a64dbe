from datetime import UTC, datetime
from pathlib import Path

from asr_kd import history
from asr_kd.history import StageRun

RUN = StageRun("train", 1.5, 100, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), {"seed": 1})


def test_what_is_noted_is_read(tmp_path: Path) -> None:
    assert history.read(tmp_path) == []
    history.note(tmp_path, RUN)
    history.note(tmp_path, RUN)
    assert history.read(tmp_path) == [RUN, RUN]


def test_a_line_that_was_cut_short_does_not_take_the_next_along(tmp_path: Path) -> None:
    history.note(tmp_path, RUN)
    history.note(tmp_path, RUN)
    file = tmp_path / history.FILE
    file.write_bytes(file.read_bytes()[:-30])
    history.note(tmp_path, RUN)
    assert history.read(tmp_path) == [RUN, RUN]
