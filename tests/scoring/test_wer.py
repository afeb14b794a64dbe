import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_kd.errors import AsrKdError
from asr_kd.scoring.wer import ErrorCounts, by_group, count_errors, total

WORDS = st.lists(st.sampled_from(["A", "B", "C"]), max_size=6)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """The textbook recursion."""
    if not reference or not hypothesis:
        return len(reference) + len(hypothesis)
    return min(
        edit_distance(reference[1:], hypothesis[1:]) + (reference[0] != hypothesis[0]),
        edit_distance(reference[1:], hypothesis) + 1,
        edit_distance(reference, hypothesis[1:]) + 1,
    )


def test_each_kind_of_error_is_counted_as_such() -> None:
    references = {"s": ["A", "B", "C"], "d": ["A", "B", "C"], "i": ["A", "B"], "right": ["A"]}
    hypotheses = {"s": ["A", "X", "C"], "d": ["A"], "i": ["A", "B", "C", "D"], "right": ["A"]}
    assert count_errors(references, hypotheses) == {
        "s": ErrorCounts(words=3, substitutions=1),
        "d": ErrorCounts(words=3, deletions=2),
        "i": ErrorCounts(words=2, insertions=2),
        "right": ErrorCounts(words=1),
    }


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS)
def test_errors_are_the_edit_distance(reference: list[str], hypothesis: list[str]) -> None:
    counts = count_errors({"u": reference}, {"u": hypothesis})["u"]
    assert counts.errors == edit_distance(reference, hypothesis)
    assert counts.words == len(reference)
    assert counts.words - counts.deletions + counts.insertions == len(hypothesis)


def test_wer_is_total_errors_by_total_words_not_a_mean_of_utterances() -> None:
    counts = count_errors({"long": ["A"] * 9, "short": ["A"]}, {"long": ["A"] * 9, "short": ["B"]})
    assert total(counts.values()).wer == pytest.approx(0.1)


def test_unpaired_utterances_are_named() -> None:
    with pytest.raises(AsrKdError, match=r"'u2' \(no hypothesis\)"):
        count_errors({"u1": ["A"], "u2": ["A"]}, {"u1": ["A"]})
    with pytest.raises(AsrKdError, match=r"'u0' \(no reference\)"):
        count_errors({"u1": ["A"]}, {"u1": ["A"], "u0": []})


def test_no_words_no_rate() -> None:
    with pytest.raises(AsrKdError, match="reference words"):
        _ = ErrorCounts(insertions=3).wer


def test_sums_by_speaker() -> None:
    counts = {"1": ErrorCounts(2, 1, 0, 0), "2": ErrorCounts(3, 0, 1, 0), "3": ErrorCounts(5, 0, 0, 2)}
    sums = by_group(counts, {"1": "bob", "2": "ann", "3": "bob"})
    assert sums == {"ann": ErrorCounts(3, 0, 1, 0), "bob": ErrorCounts(7, 1, 0, 2)}
    assert list(sums) == ["ann", "bob"]
