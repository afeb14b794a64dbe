import math

import kaldifst
import pytest

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.lang.lexicon_fst import DisambiguationLabels, Entry, entries, lexicon_fst

LEXICON = Lexicon.from_mapping(
    {"TWO": [["t", "u"]], "TO": [["t", "u"], ["t"]], "TOOL": [["t", "u", "l"]], "A": [["a"]]}
)
PHONES = {"SIL": 1, "a": 2, "l": 3, "t": 4, "u": 5}
WORDS = {"A": 1, "TO": 2, "TOOL": 3, "TWO": 4}


def test_only_ambiguous_pronunciations_get_symbols() -> None:
    assert entries(LEXICON) == [
        Entry("A", ("a",), 0),
        Entry("TO", ("t", "u"), 1),
        Entry("TO", ("t",), 1),
        Entry("TOOL", ("t", "u", "l"), 0),
        Entry("TWO", ("t", "u"), 2),
    ]


def _best(fst: kaldifst.StdVectorFst, phones: list[int], words: list[int]) -> float:
    """The lowest cost of reading `phones` and writing `words`."""
    reading = kaldifst.compose(kaldifst.make_linear_acceptor(phones), fst)
    writing = kaldifst.make_linear_acceptor(words)
    kaldifst.arcsort(reading, sort_type="olabel")
    both = kaldifst.compose(reading, writing)
    best = kaldifst.shortest_path(both)
    found, _, _, weight = kaldifst.get_linear_symbol_sequence(best)
    return weight.value if found and best.start >= 0 else math.inf


@pytest.mark.parametrize(
    ("phones", "words", "silences"),
    [
        ([4, 5], [2], 0),
        ([4, 5], [4], 0),
        ([1, 4, 5], [2], 1),
        ([1, 4, 5, 1, 2, 1], [4, 1], 3),
        ([4, 5, 3], [3], 0),
        ([1], [], 1),
        ([], [], 0),
    ],
)
def test_words_with_and_without_silence(phones: list[int], words: list[int], silences: int) -> None:
    fst = lexicon_fst(entries(LEXICON), WORDS, PHONES, 1, 0.2)
    places = len(words) + 1
    expected = -silences * math.log(0.2) - (places - silences) * math.log(0.8)
    assert _best(fst, phones, words) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("phones", "words"), [([4, 5], [3]), ([4, 5, 3], [2]), ([1, 1, 2], [1]), ([3], [])])
def test_nothing_else_is_accepted(phones: list[int], words: list[int]) -> None:
    fst = lexicon_fst(entries(LEXICON), WORDS, PHONES, 1, 0.2)
    assert _best(fst, phones, words) == math.inf


def test_with_symbols_one_input_means_one_output() -> None:
    symbols = DisambiguationLabels((6, 7, 8, 9), backoff_word=5)
    fst = lexicon_fst(entries(LEXICON), WORDS, PHONES, 1, 0.2, symbols)
    assert _best(fst, [4, 5, 7], [2]) < math.inf
    assert _best(fst, [4, 5, 7], [4]) == math.inf
    assert _best(fst, [4, 5, 8, 1, 9, 6, 2], [4, 5, 1]) < math.inf
    determinised = kaldifst.StdVectorFst(fst)
    assert kaldifst.determinize_star(determinised, max_states=1000) is False
    for state in kaldifst.StateIterator(determinised):
        labels = [arc.ilabel for arc in kaldifst.ArcIterator(determinised, state) if arc.ilabel]
        assert len(labels) == len(set(labels))


def test_impossible_probabilities_are_refused() -> None:
    for probability in (0.0, 1.0):
        with pytest.raises(AsrKdError, match="silence_probability"):
            lexicon_fst(entries(LEXICON), WORDS, PHONES, 1, probability)
