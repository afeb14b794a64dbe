from asr_kd.report.alignment_grid import Cell, grid, kinds
from asr_kd.scoring.wer import Alignment, align_words


def align(reference: str, hypothesis: str) -> Alignment:
    return align_words({"u": reference.split()}, {"u": hypothesis.split()})["u"]


def rows(reference: str, *hypotheses: str) -> list[list[Cell]]:
    return grid([align(reference, hypothesis) for hypothesis in hypotheses])


def test_words_stand_below_the_words_they_were_recognised_for() -> None:
    found = rows("A B C", "A X C", "A C", "A Y Z B C")
    assert [[cell.text for cell in row] for row in found] == [
        ["A", "", "", "B", "C"],
        ["A", "", "", "X", "C"],
        ["A", "", "", "", "C"],
        ["A", "Y", "Z", "B", "C"],
    ]
    assert [cell.kind for cell in found[1]] == ["same", "gap", "gap", "substitution", "same"]
    assert [cell.kind for cell in found[2]] == ["same", "gap", "gap", "deletion", "same"]
    assert [cell.kind for cell in found[3]] == ["same", "insertion", "insertion", "same", "same"]


def test_nothing_said() -> None:
    assert rows("", "A", "") == [
        [Cell("", "gap")],
        [Cell("A", "insertion")],
        [Cell("", "gap")],
    ]


def test_kinds_of_an_utterance() -> None:
    assert kinds(align("A B C D E", "X B D E F")) == ["deletion", "insertion", "substitution"]
    assert kinds(align("A", "A")) == []
