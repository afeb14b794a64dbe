"""A decoding graph, loaded for search: HCLG and its words."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from asr_kd.corpus.text import numbered_lines
from asr_kd.errors import AsrKdError

# One arc of OpenFst's const format, the last part of its files.
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("state", "<i4")])

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
        """The number of score columns a search of this graph reads."""
        return int(_arcs(self.hclg)["input"].max(initial=0))


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


def _arcs(hclg: kaldifst.StdConstFst) -> np.ndarray:
    """All arcs ``(arcs,)``, by way of a file: iterating over them in Python takes 2 s per million."""
    count = sum(map(hclg.num_arcs, range(hclg.num_states)))
    with tempfile.NamedTemporaryFile(suffix=".fst") as file:
        hclg.write(file.name)
        content = Path(file.name).read_bytes()
    return np.frombuffer(content, _ARC, count=count, offset=len(content) - count * _ARC.itemsize)
