from pathlib import Path

import kaldifst
import pytest

from asr_kd.decoding.graph import Graph, load_graph
from asr_kd.errors import AsrKdError
from tests.decoding.graphs import write_graph


def test_words_and_highest_label(tmp_path: Path) -> None:
    graph = load_graph(write_graph(tmp_path, ["YES", "NO"]))
    assert graph.words == {0: "<eps>", 1: "YES", 2: "NO"}
    assert graph.highest_input_label() == 3


def test_highest_label_of_a_graph_with_epsilons() -> None:
    text = "0 1 0 1 0.5\n0 2 7 0\n1 2 3 2 1\n2 2 5 0\n2 0\n"
    fst = kaldifst.compile(text, acceptor=False)
    assert Graph(kaldifst.StdConstFst(fst), {}).highest_input_label() == 7


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"HCLG.fst is missing"):
        load_graph(tmp_path)
    write_graph(tmp_path, ["YES"])
    (tmp_path / "words.txt").write_text("YES\n")
    with pytest.raises(AsrKdError, match=r"words.txt:1: not a line"):
        load_graph(tmp_path)
    (tmp_path / "words.txt").write_bytes(b"\xc9 1\n")
    with pytest.raises(AsrKdError, match=r"words.txt:1 is not UTF-8"):
        load_graph(tmp_path)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(AsrKdError, match=r"words.txt is missing"):
        load_graph(tmp_path)
    (tmp_path / "HCLG.fst").write_bytes(b"nonsense")
    with pytest.raises(AsrKdError, match=r"HCLG.fst is damaged"):
        load_graph(tmp_path)
