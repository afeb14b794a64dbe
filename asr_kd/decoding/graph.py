"""A decoding graph, loaded for search: HCLG and its words."""

import re
from dataclasses import dataclass
from pathlib import Path

import kaldifst

from asr_kd.corpus.text import numbered_lines
from asr_kd.decoding.fst_file import FstFile
from asr_kd.errors import AsrKdError

GRAPH_FILE = "HCLG.fst"
WORDS_FILE = "words.txt"
_LABEL = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Graph:
    """HCLG with input labels senone + 1 (0: epsilon) and output labels word ids.

    Attributes:
        hclg: laid out flat in memory, which is what a search reads fastest.
        words: the word of each output label.
        highest_input_label: the number of score columns that a search reads.
    """

    hclg: kaldifst.StdConstFst
    words: dict[int, str]
    highest_input_label: int


def load_graph(folder: Path) -> Graph:
    """Read ``HCLG.fst`` and ``words.txt`` of `folder`.

    Raises:
        AsrKdError: a file is missing or damaged, or the graph cannot be searched; see `FstFile.check`.
    """
    path = folder / GRAPH_FILE
    if not path.is_file():
        raise AsrKdError(f"{path} is missing; run stage align")
    file, words = FstFile.read(path), read_words(folder)
    file.check(path, words.keys())
    graph = kaldifst.StdVectorFst.read(str(path))
    return Graph(kaldifst.StdConstFst(graph), words, int(file.arcs["input"].max(initial=0)))


def read_words(folder: Path) -> dict[int, str]:
    """The word of each output label, from ``words.txt`` of `folder`, a symbol table of OpenFst.

    Raises:
        AsrKdError: the file is missing or damaged.
    """
    path = folder / WORDS_FILE
    words: dict[int, str] = {}
    for number, line in numbered_lines(path):
        word, _, label = line.rstrip().replace("\t", " ").rpartition(" ")
        if not word or not _LABEL.fullmatch(label) or int(label) in words:
            raise AsrKdError(
                f"{path}:{number}: not a line `word id` with an id of its own; run stage align again"
            )
        words[int(label)] = word
    return words
