"""Counts written down by hand, and the same as NIST's sclite (SCTK 2.4.10, ``-o pralign``) gives."""

import pytest

from asr_kd.scoring.wer import ErrorCounts, align_words, count_errors, total

# Reference, hypothesis, (words, substitutions, deletions, insertions).
FIXTURE = {
    "same": ("A B C D", "A B C D", (4, 0, 0, 0)),
    "substituted": ("A B C D", "A X C D", (4, 1, 0, 0)),
    "deleted": ("A B C D", "A C D", (4, 0, 1, 0)),
    "inserted": ("A B C D", "A B E C D", (4, 0, 0, 1)),
    "inserted at the ends": ("A B", "X A B Y", (2, 0, 0, 2)),
    "repetition lost": ("A A A B", "A A B", (4, 0, 1, 0)),
    "repetition added": ("A B", "A A A B", (2, 0, 0, 2)),
    "no reference": ("", "A B", (0, 0, 0, 2)),
    "no hypothesis": ("A B C", "", (3, 0, 3, 0)),
    "neither": ("", "", (0, 0, 0, 0)),
    "all kinds": ("A B C D E", "X B D E F", (5, 1, 1, 1)),
    "shifted": ("A B A B A B", "B A B A B", (6, 0, 1, 0)),
    "half": ("A B C A B C", "A B C", (6, 0, 3, 0)),
    # Three errors either way; two substitutions and an insertion would get one word fewer right.
    "stutter": ("THE CAT SAT ON THE MAT", "THE THE CAT SAT THE MAT MAT", (6, 0, 1, 2)),
    "tie": ("A B", "B C", (2, 0, 1, 1)),
    "nothing right": ("A B C", "X Y Z", (3, 3, 0, 0)),
}


@pytest.mark.parametrize("name", FIXTURE)
def test_counts(name: str) -> None:
    reference, hypothesis, expected = FIXTURE[name]
    counts = count_errors({name: reference.split()}, {name: hypothesis.split()})[name]
    assert counts == ErrorCounts(*expected)


def test_sum() -> None:
    columns = [{name: row[side].split() for name, row in FIXTURE.items()} for side in (0, 1)]
    counts = total(count_errors(*columns).values())
    assert counts == ErrorCounts(words=55, substitutions=5, deletions=12, insertions=11)
    assert counts.wer == pytest.approx(28 / 55)


def test_places_of_the_errors() -> None:
    reference, hypothesis, _ = FIXTURE["stutter"]
    alignment = align_words({"u": reference.split()}, {"u": hypothesis.split()})["u"]
    # ON is the fourth word; THE is inserted beside the first one, MAT beside the last one.
    assert alignment.slots().sum() == 3
    assert alignment.slots()[7] == 1
    assert alignment.slots()[:3].sum() == 1
    assert alignment.slots()[10:].sum() == 1


def test_fewest_errors_come_first_where_sclite_would_make_more() -> None:
    # Five wrong words in a row: 5 errors of cost 20. sclite takes 3 + 3 of cost 18, for the two words right.
    reference, hypothesis = ["A", "B", "C", "P", "Q"], ["P", "Q", "X", "Y", "Z"]
    counts = count_errors({"u": reference}, {"u": hypothesis})["u"]
    assert counts == ErrorCounts(words=5, substitutions=5)
