import sys
from types import ModuleType

import pytest

from asr_kd import corpus
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.pronounce import ARPABET, complete, dictionary
from asr_kd.errors import AsrKdError


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Letter-to-sound rules that say Z for every word; returns the words they were asked for."""
    asked: list[str] = []

    def pronounce(words: list[str]) -> dict[str, tuple[str, ...]]:
        asked.extend(words)
        return dict.fromkeys(words, ("Z",))

    module = ModuleType("asr_kd.corpus.espeak")
    module.pronounce = pronounce  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asr_kd.corpus.espeak", module)
    monkeypatch.setattr(corpus, "espeak", module, raising=False)
    return asked


def test_the_lexicon_comes_first_then_cmudict_then_the_rules(rules: list[str]):
    found = complete(["READ", "ZERO", "zxqy"], Lexicon.from_mapping({"ZERO": [["Z"]]}))
    assert found.from_dictionary == ["READ"] and found.by_rule == ["zxqy"] == rules
    assert found.lexicon.entries == {"READ": [("R", "EH", "D"), ("R", "IY", "D")], "zxqy": [("Z",)]}


def test_nothing_is_looked_up_when_nothing_is_missing(rules: list[str]):
    assert complete(["A"], Lexicon.from_mapping({"A": [["x"]]})).lexicon.entries == {}
    assert rules == []


def test_a_foreign_phone_set_is_not_mixed_with_cmudict(rules: list[str]):
    with pytest.raises(AsrKdError, match=r"2 words.*ONE, TWO.*not those of cmudict \(aː\)"):
        complete(["TWO", "ONE"], Lexicon.from_mapping({"A": [["aː"]]}))
    assert rules == []


def test_words_that_no_rule_pronounces_are_named():
    with pytest.raises(AsrKdError, match="'1990'"):
        complete(["1990", "zxqy"], None)


def test_cmudict_has_39_phones_and_no_stress():
    assert len(ARPABET) == 39
    assert set(dictionary().phones) == ARPABET
