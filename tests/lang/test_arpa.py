from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.lang.arpa import restrict_arpa

HEADER = "A model. Its format:\n\n\\data\\ and the counts, then\n\\1-grams:\np_1 wd_1 bo_wt_1\n\n"
MODEL = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99 <s> -0.5
-1.0 </s> -99.0
-1.0 <UNK> 0.0
-0.5\tA\t-0.25
-0.7 B

\\2-grams:
-0.1 <s> A
-0.2 A </s>
-0.3 A B

\\end\\
"""


def test_model_is_cleaned_and_restricted(tmp_path: Path) -> None:
    (tmp_path / "source").write_text(HEADER + MODEL)
    summary = restrict_arpa(tmp_path / "source", {"A", "C"}, tmp_path / "target")
    assert (summary.ngrams, summary.words, summary.dropped_words) == ((3, 2), ("A",), ("<UNK>", "B"))
    assert (tmp_path / "target").read_text() == (
        "\\data\\\nngram 1=3\nngram 2=2\n\n"
        "\\1-grams:\n-99\t<s>\t-0.5\n-1.0\t</s>\n-0.5\tA\t-0.25\n\n"
        "\\2-grams:\n-0.1\t<s> A\n-0.2\tA </s>\n\n\\end\\\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no model", "has no line"),
        (MODEL.replace("\\end\\\n", ""), "not complete"),
        (MODEL.replace("-0.3 A B", "-0.3 A"), ":15: not a line"),
        (MODEL.replace("-0.3 A", "many A"), ":15: not a line"),
        (MODEL.replace("\\2-grams:", "\\3-grams:"), ":12: not a line"),
        (MODEL.lower(), "none of its 5 words is in the lexicon"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "source").write_text(content)
    with pytest.raises(AsrKdError, match=message):
        restrict_arpa(tmp_path / "source", {"A", "B"}, tmp_path / "target")


def test_the_longest_ngrams_back_off_to_nothing(tmp_path: Path) -> None:
    # Kaldi's reader ends the process where they carry a weight, as those of many toolkits do.
    (tmp_path / "source").write_text(MODEL.replace("-0.3 A B", "-0.3 A B -0.5"))
    restrict_arpa(tmp_path / "source", {"A", "B"}, tmp_path / "target")
    assert "-0.3\tA B\n" in (tmp_path / "target").read_text()


def test_an4s_own_model_is_read(tmp_path: Path, corpora: Path) -> None:
    source = corpora / "an4" / "etc" / "an4.ug.lm"
    summary = restrict_arpa(source, {"YES", "NO", "MEMORY"}, tmp_path / "target")
    assert summary.words == ("MEMORY", "NO", "YES") and summary.ngrams == (5, 1)
    assert len(summary.dropped_words) == 102
