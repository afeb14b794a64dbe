from pathlib import Path

import numpy as np

from asr_kd.runtime.word_times import PhoneMap, word_spans

# Senones 0: silence; 1, 2: first and last state of A; 3, 4: of B, which shares them with P; 5: another first
# state of A.
PHONES = PhoneMap(
    [frozenset({"SIL"}), *[frozenset({"A"})] * 2, *[frozenset({"B", "P"})] * 2, frozenset({"A"})],
    [True, True, False, True, False, True],
    "SIL",
    {"AB": [("A", "B")], "A": [("A",), ("A", "A")], "BA": [("B", "A")]},
)


def spans(senones: list[int], words: list[tuple[str, int]]) -> list[tuple[int, int]]:
    return word_spans(np.array(senones), words, PHONES)


def test_words_are_where_their_phones_are() -> None:
    path = [0, 0, 1, 1, 2, 3, 4, 4, 0, 3, 4, 1, 2, 0]
    assert spans(path, [("AB", 0), ("BA", 7)]) == [(2, 8), (9, 13)]


def test_the_same_phone_twice_is_two_phones() -> None:
    assert spans([1, 2, 2, 1, 2, 3, 4], [("A", 0), ("AB", 2)]) == [(0, 3), (3, 7)]
    # Another leaf of the same first state goes on with the phone.
    assert spans([1, 5, 2, 3, 4], [("AB", 0)]) == [(0, 5)]


def test_ambiguity_is_resolved_by_what_follows() -> None:
    path = [1, 2, 1, 2, 1, 2, 3, 4]
    assert spans(path, [("A", 0), ("AB", 1)]) == [(0, 4), (4, 8)]


def test_as_many_words_as_there_may_be() -> None:
    found = spans([1, 2] * 3000, [("A", 0)] * 3000)
    assert found == [(place, place + 2) for place in range(0, 6000, 2)]


def test_the_last_word_may_be_cut_off() -> None:
    assert spans([3, 4, 1, 2, 3], [("BA", 0), ("BA", 3)]) == [(0, 4), (4, 5)]


def test_without_a_fit_the_graph_is_believed() -> None:
    assert spans([1, 2, 1, 2], [("BA", 0), ("AB", 2)]) == [(0, 2), (2, 4)]
    assert word_spans(np.array([1, 2, 1, 2]), [("A", 1), ("B", 3)], None) == [(1, 3), (3, 4)]
    assert spans([0, 0], []) == []


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    PHONES.write(tmp_path / "phones.json")
    found = PhoneMap.read(tmp_path / "phones.json")
    assert (found.phones, found.first, found.lexicon) == (PHONES.phones, PHONES.first, PHONES.lexicon)
    assert found.silent.tolist() == [True] + [False] * 5
    assert len(set(found.groups.tolist())) == 3
