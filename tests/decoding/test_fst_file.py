import struct
from pathlib import Path

import kaldifst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_kd.decoding.fst_file import FstFile
from asr_kd.errors import AsrKdError

ARC = struct.pack("<iifi", 1, 2, 0.5, 1)  # input, output, weight, state
arcs = st.lists(st.tuples(*[st.integers(0, 5)] * 4), max_size=12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two states and an arc."""
    write(tmp_path / "a.fst", [(0, 1, 2, 1)])
    assert (tmp_path / "a.fst").read_bytes().count(ARC) == 1
    return tmp_path / "a.fst"


def write(path: Path, arcs: list[tuple[int, int, int, int]]) -> kaldifst.StdVectorFst:
    """Arcs are (from, input, output, to); the last state is final."""
    fst = kaldifst.StdVectorFst()
    states = 1 + max((max(first, to) for first, _, _, to in arcs), default=0)
    for _ in range(states):
        fst.add_state()
    fst.start = 0
    fst.set_final(states - 1, 0.25)
    for first, label, word, to in arcs:
        fst.add_arc(first, kaldifst.StdArc(label, word, 0.5, to))
    fst.write(str(path))
    return fst


def has_silent_cycle(arcs: list[tuple[int, int, int, int]]) -> bool:
    """The obvious way: follow arcs without input from every state."""
    follows = {(first, to) for first, label, _, to in arcs if label == 0}
    for _ in range(6):  # states
        follows |= {(first, last) for first, middle in follows for begin, last in follows if begin == middle}
    return any(first == last for first, last in follows)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(arcs)
def test_against_kaldifst(tmp_path_factory: pytest.TempPathFactory, arcs: list) -> None:
    path = tmp_path_factory.mktemp("fst") / "a.fst"
    fst = write(path, arcs)
    file = FstFile.read(path)
    again = FstFile.read(path, file.counts.astype(np.uint8))
    assert (again.finals.tolist(), again.arcs.tolist()) == (file.finals.tolist(), file.arcs.tolist())
    assert (file.start, len(file.finals)) == (0, fst.num_states)
    found = [
        (state, arc.ilabel, arc.olabel, arc.nextstate)
        for state in range(fst.num_states)
        for arc in kaldifst.ArcIterator(fst, state)
    ]
    states = np.repeat(np.arange(fst.num_states), file.counts)
    columns = (states, file.arcs["input"], file.arcs["output"], file.arcs["state"])
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == found
    assert np.isfinite(file.finals).tolist() == [
        state == fst.num_states - 1 for state in range(fst.num_states)
    ]
    if has_silent_cycle(arcs):
        with pytest.raises(AsrKdError, match="circle"):
            file.check(path, range(6))
    else:
        file.check(path, range(6))


@pytest.mark.parametrize(
    ("arc", "message"),
    [
        ((1, 2, 0.5, 2), "leads to a state that is not there"),
        ((1, 2, 0.5, -1), "leads to a state that is not there"),
        ((-1, 2, 0.5, 1), "an input label is negative"),
        ((1, -2, 0.5, 1), "an output label is no word"),
        ((1, 2, float("-inf"), 1), "a weight is no finite number"),
    ],
)
def test_what_openfst_believes_is_refused(path: Path, arc: tuple, message: str) -> None:
    path.write_bytes(path.read_bytes().replace(ARC, struct.pack("<iifi", *arc)))
    with pytest.raises(AsrKdError, match=rf"a\.fst: {message}|a\.fst: an arc {message}"):
        FstFile.read(path).check(path, [1, 2])


def test_damaged_files_are_named(path: Path) -> None:
    whole = path.read_bytes()
    arcs = whole.index(ARC) - 8  # where the number of arcs of the first state stands
    for damaged, message in {
        whole[:-4]: "claims arcs|states can be read",
        whole[:-2]: "truncated",
        whole + bytes(12): "3 states can be read, its header says 2",
        whole[:60]: "unpack",
        whole[:10]: "header|unpack",
        whole[:arcs] + struct.pack("<q", 1 << 40) + whole[arcs + 8 :]: "state 0 claims arcs",
        whole[:arcs] + struct.pack("<q", -1) + whole[arcs + 8 :]: "state 0 claims arcs",
        whole.replace(b"vector", b"const\0"): "convert it: fstconvert",
        whole.replace(b"standard", b"log_arcs"): "with 'log_arcs' arcs",
        b"": "does not begin",
    }.items():
        path.write_bytes(damaged)
        with pytest.raises(AsrKdError, match=rf"a\.fst is damaged or no transducer.*({message})"):
            FstFile.read(path)


@pytest.mark.parametrize(
    "counts",
    [[1], [0, 0], [0, 1], [1, 0, 0], [-1, 2], [5, -4], [1 << 62, 1 << 62], [], [[1, 0]], [1.0, 0.0], 1],
    ids=str,
)
def test_numbers_of_arcs_of_another_file_are_refused(path: Path, counts: list) -> None:
    with pytest.raises(AsrKdError, match=r"a\.fst .*not the numbers of arcs that were noted"):
        FstFile.read(path, np.array(counts))


def test_a_graph_of_another_format_says_how_to_convert_it(path: Path) -> None:
    kaldifst.StdConstFst(kaldifst.StdVectorFst.read(str(path))).write(str(path))
    with pytest.raises(AsrKdError, match=r"of type 'const'.*fstconvert --fst_type=vector"):
        FstFile.read(path)
