"""Several systems' alignments of one utterance under each other, word below word."""

from collections.abc import Sequence
from dataclasses import dataclass

from asr_kd.scoring.wer import Alignment

SAME, SUBSTITUTION, DELETION, INSERTION, GAP = "same", "substitution", "deletion", "insertion", "gap"


@dataclass(frozen=True)
class Cell:
    """One word of one system.

    Attributes:
        text: the word; empty for a deletion and a gap.
        kind: what it is; a gap is a place where another system inserted a word.
    """

    text: str
    kind: str


def grid(alignments: Sequence[Alignment]) -> list[list[Cell]]:
    """The reference and every system in rows of equal length.

    Args:
        alignments: of the same utterance, at least one.
    """
    columns = [_columns(alignment) for alignment in alignments]
    words = [said for said, _ in alignments[0].pairs if said is not None]
    rows: list[list[Cell]] = [[] for _ in range(len(alignments) + 1)]
    for place in range(len(words) + 1):
        width = max(len(insertions[place]) for insertions, _ in columns)
        rows[0] += [Cell("", GAP)] * width
        for row, (insertions, _) in zip(rows[1:], columns, strict=True):
            row.extend(Cell(word, INSERTION) for word in insertions[place])
            row.extend([Cell("", GAP)] * (width - len(insertions[place])))
        if place < len(words):
            rows[0].append(Cell(words[place], SAME))
            for row, (_, cells) in zip(rows[1:], columns, strict=True):
                row.append(cells[place])
    return rows


def kinds(alignment: Alignment) -> list[str]:
    """The kinds of errors that an alignment has, sorted."""
    counts = alignment.counts
    numbers = {DELETION: counts.deletions, INSERTION: counts.insertions, SUBSTITUTION: counts.substitutions}
    return [kind for kind, number in numbers.items() if number]


def _columns(alignment: Alignment) -> tuple[list[list[str]], list[Cell]]:
    """The words inserted before each word of the reference and after the last; what became of each word."""
    insertions: list[list[str]] = [[]]
    cells = []
    for said, recognised in alignment.pairs:
        if said is None:
            insertions[-1].append(recognised or "")
            continue
        insertions.append([])
        if recognised is None:
            cells.append(Cell("", DELETION))
        else:
            cells.append(Cell(recognised, SAME if recognised == said else SUBSTITUTION))
    return insertions, cells
