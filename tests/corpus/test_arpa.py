import gzip
from pathlib import Path

import pytest

from asr_kd.corpus.arpa import arpa_words, write_clean_arpa
from asr_kd.errors import AsrKdError

BODY = """\\data\\
ngram 1=4

\\1-grams:
-1.0 <s> -0.3
-1.0 </s>
-1.2\tONE\t-0.1
-1.2 TWO

\\2-grams:
-0.5 THREE ONE

\\end\\
"""
HEADER = "A header that explains:\nBeginning of data mark: \\data\\\n\\1-grams:\n-2 WRONG\n\n"


@pytest.mark.parametrize("packed", [False, True])
def test_the_header_is_cut_off_and_the_words_are_found(tmp_path: Path, packed: bool):
    source = tmp_path / ("a.lm.gz" if packed else "a.lm")
    content = (HEADER + BODY).encode()
    source.write_bytes(gzip.compress(content) if packed else content)
    write_clean_arpa(source, tmp_path / "a.arpa")
    assert (tmp_path / "a.arpa").read_text() == BODY
    assert arpa_words(source) == {"ONE", "TWO"}


@pytest.mark.parametrize("content", ["", "no model\n", BODY[:60], BODY.replace("\\end\\", "")])
def test_what_is_no_whole_model_is_refused(tmp_path: Path, content: str):
    (tmp_path / "a.lm").write_text(content)
    with pytest.raises(AsrKdError, match=r"a\.lm"):
        write_clean_arpa(tmp_path / "a.lm", tmp_path / "a.arpa")
    assert not (tmp_path / "a.arpa").exists()


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    with pytest.raises(AsrKdError, match=r"none\.arpa"):
        arpa_words(tmp_path / "none.arpa")
    (tmp_path / "a.gz").write_bytes(gzip.compress(BODY.encode())[:-20])
    with pytest.raises(AsrKdError, match=r"a\.gz"):
        write_clean_arpa(tmp_path / "a.gz", tmp_path / "b.arpa")


def test_the_model_of_an4(corpora: Path, tmp_path: Path):
    write_clean_arpa(corpora / "an4" / "etc" / "an4.ug.lm", tmp_path / "ug.arpa")
    assert (tmp_path / "ug.arpa").read_text().startswith("\\data\\\nngram 1=107\n")
    words = arpa_words(tmp_path / "ug.arpa")
    assert len(words) == 104 and {"YES", "ZERO"} < words and "<UNK>" not in words
