from asr_kd.scoring.wer import align_words
from asr_kd.scoring.words import OutOfVocabulary, WordCounts, confusions, count_words, out_of_vocabulary

REFERENCES = {"u": ["THE", "CAT", "SAT", "ON", "THE", "MAT"], "v": ["A", "ZEBRA"]}
HYPOTHESES = {"u": ["THE", "CAP", "SAT", "THE", "MAT", "MAT"], "v": ["A", "ZERO"]}


def test_every_word_and_what_became_of_it() -> None:
    counts = count_words(align_words(REFERENCES, HYPOTHESES).values())
    assert list(counts) == sorted(counts)
    assert counts["THE"] == WordCounts(said=2)
    assert counts["CAT"] == WordCounts(said=1, substitutions=1)
    assert counts["CAP"] == WordCounts(false_alarms=1)
    assert counts["ON"] == WordCounts(said=1, deletions=1)
    assert counts["MAT"] == WordCounts(said=1, insertions=1)


def test_confusions_are_the_errors() -> None:
    assert confusions(align_words(REFERENCES, HYPOTHESES).values()) == {
        ("CAT", "CAP"): 1,
        ("ON", None): 1,
        (None, "MAT"): 1,
        ("ZEBRA", "ZERO"): 1,
    }


def test_words_outside_the_vocabulary_are_set_apart() -> None:
    vocabulary = {"A", "CAP", "CAT", "MAT", "ON", "SAT", "THE", "ZERO"}
    found = out_of_vocabulary(align_words(REFERENCES, HYPOTHESES).values(), vocabulary)
    # Eight words and four errors; ZEBRA is one of both.
    assert found == OutOfVocabulary(tokens=1, words=("ZEBRA",), known_words=7, known_errors=3)
    assert found.known_rate == 3 / 7
    assert out_of_vocabulary(align_words(REFERENCES, HYPOTHESES).values(), set()).known_rate is None
