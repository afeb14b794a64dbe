from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.hmm.phones import PhoneTable


def test_silence_comes_first_and_files_read_back(tmp_path: Path) -> None:
    table = PhoneTable.of(["T", "AH", "SIL", "T"])
    assert table.names == ("SIL", "AH", "T")
    assert (table.silence, table.speech, table.number["T"]) == (1, [2, 3], 3)
    table.write(tmp_path / "phones.txt")
    assert (tmp_path / "phones.txt").read_text() == "<eps> 0\nSIL 1\nAH 2\nT 3\n"
    assert PhoneTable.read(tmp_path / "phones.txt") == table


@pytest.mark.parametrize("content", ["", "<eps> 0\nSIL 2\nAH 1\n", "<eps> 0\nSIL\nAH 2\n"])
def test_damaged_table_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "phones.txt").write_text(content)
    with pytest.raises(AsrKdError, match=r"phones\.txt"):
        PhoneTable.read(tmp_path / "phones.txt")
