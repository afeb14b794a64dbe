import gzip
from pathlib import Path

import pytest

from asr_kd.corpus.arpa import arpa_words, write_clean_arpa
from asr_kd.errors import AsrKdError

BODY = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-1.0 <s> -0.3
-1.0 </s>
-1.2\tONE\t-0.1
-1.2 TWO
-9 <unk>

\\2-grams:
-0.5 TWO ONE

\\end\\
"""
HEADER = "A header that explains:\nBeginning of data mark: \\data\\\n\\1-grams:\n-2 WRONG\n\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", [HEADER.encode(), "Zaehlwörter\n".encode("latin-1"), b"\xef\xbb\xbf"])
def test_the_header_is_cut_off_and_the_words_are_found(tmp_path: Path, before: bytes, packed: bool):
    source = tmp_path / "a.lm"
    content = before + BODY.encode()
    source.write_bytes(gzip.compress(content) if packed else content)
    write_clean_arpa(source, tmp_path / "a.arpa")
    assert (tmp_path / "a.arpa").read_text() == BODY
    assert arpa_words(source) == {"ONE", "TWO"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BODY.replace("1=5", "1=6"), ":12: 5 1-grams end here, where the file announces 6"),
        (BODY.replace("1=5", "2=5"), ":2: not a line"),
        (BODY.replace("ngram 2=1\n", ""), ":11: not a line"),
        (BODY.replace("\\2-grams:\n-0.5 TWO ONE\n\n", ""), ":12: not a line"),
        (BODY.replace("-1.2 TWO", "nan TWO"), ":9: not a line"),
        (BODY.replace("-1.2 TWO", "-1_2 TWO"), ":9: not a line"),
        (BODY.replace("-1.2 TWO", "-1e400 TWO"), ":9: not a line"),
        (BODY.replace("-1.2 TWO", "1.2 TWO"), ":9: not a line"),
        (BODY.replace("<s> -0.3", "<s> inf"), ":6: not a line"),
        (BODY.replace("TWO\n-9", "TWO 1 1\n-9"), ":9: not a line"),
        (BODY.replace("-9 <unk>", "-9 TWO"), ":10: the word 'TWO' was there before"),
        (BODY.replace("-0.5 TWO ONE", "-0.5 THREE ONE"), ":13: an n-gram of 'THREE'"),
        (BODY.replace("</s>", "THREE"), ":12: no </s> among the 1-grams"),
        (BODY.replace("TWO", "CAFÉ").encode("latin-1"), ":9 is not UTF-8"),
        (BODY.replace("TWO", "T\0O"), ":9 is not UTF-8 text \\(a zero byte"),
        ("\\data\\\n" + "A" * 2_000_000, ":2 is a line without end"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str):
    (tmp_path / "a.lm").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AsrKdError, match=rf"a\.lm{message}"):
        arpa_words(tmp_path / "a.lm")


@pytest.mark.parametrize("content", ["", "no model\n", BODY[:60], BODY.replace("\\end\\", "")])
def test_what_is_no_whole_model_is_refused(tmp_path: Path, content: str):
    (tmp_path / "a.lm").write_text(content)
    with pytest.raises(AsrKdError, match=r"a\.lm"):
        write_clean_arpa(tmp_path / "a.lm", tmp_path / "a.arpa")
    assert not (tmp_path / "a.arpa").exists()


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    with pytest.raises(AsrKdError, match=r"none\.arpa"):
        arpa_words(tmp_path / "none.arpa")
    packed = gzip.compress(BODY.encode())
    for damaged in (packed[:-20], packed[:40] + b"\xff" * 10 + packed[50:]):
        (tmp_path / "a.gz").write_bytes(damaged)
        with pytest.raises(AsrKdError, match=r"a\.gz cannot be read"):
            write_clean_arpa(tmp_path / "a.gz", tmp_path / "b.arpa")


def test_the_model_of_an4(corpora: Path, tmp_path: Path):
    write_clean_arpa(corpora / "an4" / "etc" / "an4.ug.lm", tmp_path / "ug.arpa")
    assert (tmp_path / "ug.arpa").read_text().startswith("\\data\\\nngram 1=107\n")
    words = arpa_words(tmp_path / "ug.arpa")
    assert len(words) == 104 and {"YES", "ZERO"} < words and "<UNK>" not in words
