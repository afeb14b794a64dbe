"""A decoding graph, loaded for search: HCLG and its words."""

import re
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from asr_kd.corpus.text import numbered_lines
from asr_kd.decoding.fst_file import FstFile
from asr_kd.errors import AsrKdError
from asr_kd.frames import read_array

GRAPH_FILE = "HCLG.fst"
WORDS_FILE = "words.txt"
COUNTS_FILE = "HCLG.counts.npy"  # arcs of every state, where there is no time to find them one by one
_LABEL = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Graph:
    """HCLG with input labels senone + 1 (0: epsilon) and output labels word ids.

    Attributes:
        hclg: to be searched.
        words: the word of each output label.
        highest_input_label: the number of score columns that a search reads.
    """

    hclg: kaldifst.StdConstFst | kaldifst.StdVectorFst
    words: dict[int, str]
    highest_input_label: int


def load_graph(folder: Path, flat: bool = True) -> Graph:
    """Read ``HCLG.fst`` and ``words.txt`` of `folder`; faster if there is ``HCLG.counts.npy``, too.

    Args:
        folder: of the graph.
        flat: lay it out in one piece of memory. A search reads that somewhat faster, but a graph of a million
            states takes more than a second to be laid out, and the room of both.

    Raises:
        AsrKdError: a file is missing or damaged, or the graph cannot be searched; see `FstFile.check`.
    """
    path = folder / GRAPH_FILE
    if not path.is_file():
        raise AsrKdError(f"{path} is missing; run stage align")
    counts = read_array(folder / COUNTS_FILE) if (folder / COUNTS_FILE).is_file() else None
    file, words = FstFile.read(path, counts), read_words(folder)
    file.check(path, words.keys())
    graph = kaldifst.StdVectorFst.read(str(path))
    hclg = kaldifst.StdConstFst(graph) if flat else graph
    return Graph(hclg, words, int(file.arcs["input"].max(initial=0)))


def note_counts(folder: Path) -> None:
    """Note beside the graph in `folder` how many arcs its states have, so that it loads faster.

    Raises:
        AsrKdError: the graph is missing or damaged.
    """
    counts = FstFile.read(folder / GRAPH_FILE).counts
    smallest = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
    np.save(folder / COUNTS_FILE, smallest, allow_pickle=False)


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
