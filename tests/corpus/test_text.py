from pathlib import Path

import pytest

from asr_kd.corpus.text import numbered_lines, read_lines
from asr_kd.errors import AsrKdError


def test_blank_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfA\r\n\n \nB\xc2\x85C")
    assert numbered_lines(tmp_path / "a.txt") == [(1, "A\r"), (4, "B\x85C")]
    assert read_lines(tmp_path / "a.txt") == ["A\r", "B\x85C"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("CAFE\nCAFÉ\n".encode("latin-1"))
    with pytest.raises(AsrKdError, match=r"a\.txt:2 is not UTF-8 text .*convert"):
        read_lines(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes("A\nB\n".encode("utf-16-le"))
    with pytest.raises(AsrKdError, match=r"a\.txt:1 is not UTF-8 text \(a zero byte"):
        read_lines(tmp_path / "a.txt")
    with pytest.raises(AsrKdError, match=r"b\.txt is missing"):
        read_lines(tmp_path / "b.txt")
    with pytest.raises(AsrKdError, match=r"cannot be read \(Is a directory\)"):
        read_lines(tmp_path)
