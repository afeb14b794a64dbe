"""A decoding graph, loaded for search: HCLG and its words."""

from dataclasses import dataclass
from pathlib import Path

import kaldifst

from asr_kd.corpus.text import numbered_lines
from asr_kd.errors import AsrKdError

GRAPH_FILE = "HCLG.fst"
WORDS_FILE = "words.txt"


@dataclass(frozen=True, eq=False)
class Graph:
    """HCLG with input labels senone + 1 (0: epsilon) and output labels word ids.

    Attributes:
        hclg: laid out flat in memory, which is what a search reads fastest.
        words: the word of each output label.
    """

    hclg: kaldifst.StdConstFst
    words: dict[int, str]

    def highest_input_label(self) -> int:
        """The number of score columns a search of this graph reads. Takes about 2 s per million arcs."""
        return max(
            (
                arc.ilabel
                for state in kaldifst.StateIterator(self.hclg)
                for arc in kaldifst.ArcIterator(self.hclg, state)
            ),
            default=0,
        )


def load_graph(folder: Path) -> Graph:
    """Read ``HCLG.fst`` and ``words.txt`` of `folder`.

    Raises:
        AsrKdError: a file is missing or damaged, or the graph is empty.
    """
    path = folder / GRAPH_FILE
    if not path.is_file():
        raise AsrKdError(f"{path} is missing; run stage align")
    graph = kaldifst.StdVectorFst.read(str(path))
    if graph is None or graph.start < 0:
        raise AsrKdError(f"{path} is damaged or empty; delete {folder} and run stage align again")
    return Graph(kaldifst.StdConstFst(graph), read_words(folder))


def read_words(folder: Path) -> dict[int, str]:
    """The word of each output label, from ``words.txt`` of `folder`, a symbol table of OpenFst.

    Raises:
        AsrKdError: the file is missing or damaged.
    """
    path = folder / WORDS_FILE
    words: dict[int, str] = {}
    for number, line in numbered_lines(path):
        word, _, label = line.rstrip().replace("\t", " ").rpartition(" ")
        if not word or not label.isdigit():
            raise AsrKdError(f"{path}:{number}: not a line `word id`; run stage align again")
        words[int(label)] = word
    return words
