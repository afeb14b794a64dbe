"""Sizes of a recipe before its run."""

from pathlib import Path

from asr_kd.config import ViewConfig
from asr_kd.layout import transfer_folders
from asr_kd.preflight.sizes import PartSize, copies, count_ngrams

TEXT = [["A", "B", "A"], ["B", "A"], ["A", "B", "A"]]


def counted(text: list[list[str]], order: int) -> dict[tuple[str, ...], int]:
    """By hand."""
    found: dict[tuple[str, ...], int] = {}
    for sentence in text:
        words = ["<s>", *sentence, "</s>"]
        for place in range(len(words) - order + 1):
            ngram = tuple(words[place : place + order])
            found[ngram] = found.get(ngram, 0) + 1
    return found


def test_ngrams_are_counted_once_each() -> None:
    for order in (1, 2, 3, 4):
        expected = sum(len(counted(TEXT, length)) for length in range(1, order + 1))
        assert count_ngrams(TEXT, order) == expected


def test_pruning_leaves_no_long_ngrams_that_occur_once() -> None:
    short = len(counted(TEXT, 1)) + len(counted(TEXT, 2))
    often = sum(count > 1 for count in counted(TEXT, 3).values())
    assert 0 < often < len(counted(TEXT, 3))
    assert count_ngrams(TEXT, 3, once=False) == short + often


def test_no_text_has_no_ngrams() -> None:
    assert count_ngrams([], 3) == 0


def test_a_share_of_a_part_has_utterances_as_long() -> None:
    assert PartSize(100, 1000, 10.0, 30).share(0.5) == PartSize(50, 500, 5.0, 30)


def test_a_slower_copy_is_as_much_longer_and_so_is_that_of_audio_without_transcripts() -> None:
    parts = {"train": PartSize(100, 1000, 10.0, 30), "unlabelled": PartSize(10, 80, 0.8, 20)}
    found = parts | copies(parts, {"slow": ViewConfig(speed=0.8)}, Path("exp"))
    assert [found[one.name].frames for one in transfer_folders(Path("exp"), ["slow"], unlabelled=True)] == [
        1000,
        1250,
        80,
        100,
    ]
    assert found["view-slow"].utterances == 100
