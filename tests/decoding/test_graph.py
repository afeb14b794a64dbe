from pathlib import Path

import kaldifst
import pytest

from asr_kd.decoding.graph import load_graph
from asr_kd.errors import AsrKdError
from tests.decoding.graphs import write_graph


def test_words_and_highest_label(tmp_path: Path) -> None:
    graph = load_graph(write_graph(tmp_path, ["YES", "NO"]))
    assert graph.words == {0: "<eps>", 1: "YES", 2: "NO"}
    assert graph.highest_input_label == 3


def compiled(folder: Path, text: str, words: int = 3) -> Path:
    kaldifst.compile(text, acceptor=False).write(str(folder / "HCLG.fst"))
    (folder / "words.txt").write_text("".join(f"w{number} {number}\n" for number in range(words)))
    return folder


def test_highest_label_of_a_graph_with_epsilons(tmp_path: Path) -> None:
    text = "0 1 0 1 0.5\n0 2 7 0\n1 2 3 2 1\n2 2 5 0\n2 0\n"
    assert load_graph(compiled(tmp_path, text)).highest_input_label == 7


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
    (tmp_path / "words.txt").write_text("A 1\nB 1\n")
    write_graph(tmp_path / "other", ["YES"])
    (tmp_path / "HCLG.fst").write_bytes((tmp_path / "other" / "HCLG.fst").read_bytes())
    with pytest.raises(AsrKdError, match=r"words.txt:2: .*an id of its own"):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 1 1\n1 2 0 0\n2 1 0 0\n2 0\n", "arcs without input go in a circle, near state [12]"),
        ("0 0 0 1\n0 0\n", "arcs without input go in a circle, near state 0"),
        ("0 1 1 9\n1 0\n", r"an output label is no word of its table \(an arc of state 0"),
        ("0 1 1 1\n1 1 1 1\n", "no state is final"),
        ("0 1 1 1\n1 2 1 1 nan\n2 0\n", r"a weight is no finite number \(an arc of state 1"),
        ("0 1 1 1\n1 nan\n", "a final weight is no number"),
        ("", "is empty: it has no first state"),
    ],
)
def test_graphs_that_no_search_survives_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AsrKdError, match=rf"HCLG.fst.*{message}"):
        load_graph(compiled(tmp_path, text))


def test_arcs_without_input_may_meet_again(tmp_path: Path) -> None:
    load_graph(compiled(tmp_path, "0 1 0 1\n0 2 0 0\n1 3 0 0\n2 3 0 0\n3 0 1 0\n3 0\n"))


def test_arcs_without_input_may_meet_again_in_several_states(tmp_path: Path) -> None:
    # From 1 and 2 at once the states 3, 4, 3, 4 are reached.
    arcs = ("0 1 0 1", "0 2 0 0", "1 3 0 0", "1 4 0 0", "2 3 0 0", "2 4 0 0", "3 5 0 0", "4 0 1 0")
    load_graph(compiled(tmp_path, "\n".join([*arcs, "5 0"]) + "\n"))
