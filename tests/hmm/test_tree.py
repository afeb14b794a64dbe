import kaldi_hmm_gmm as khg
import numpy as np
import pytest

from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.topology import states_of, write_topology
from asr_kd.hmm.tree import (
    LEFT,
    PDF_CLASS,
    RIGHT,
    Leaf,
    Node,
    Split,
    Table,
    Tree,
    context_dependency,
    monophone_tree,
)


def test_monophone_tree_has_the_bytes_of_kaldis_own() -> None:
    phones = PhoneTable.of("ABCDE")
    topology = khg.HmmTopology()
    topology.read(write_topology(phones))
    own = khg.monophone_context_dependency(phones.numbers, topology.get_phone_to_num_pdf_classes())
    tree = monophone_tree({phone: states_of(phones, phone) for phone in phones.numbers})
    assert tree.to_bytes() == bytes(byte & 255 for byte in own.__getstate__()[0])


def _random_node(random: np.random.Generator, depth: int, leaves: list[int]) -> Node:
    if depth == 0 or random.random() < 0.2:
        leaves.append(len(leaves))
        return Leaf(leaves[-1])
    values = tuple(int(phone) for phone in np.flatnonzero(random.random(200) < 0.4))
    key = int(random.choice([LEFT, RIGHT]))
    return Split(
        key, values, _random_node(random, depth - 1, leaves), _random_node(random, depth - 1, leaves)
    )


def test_kaldi_answers_as_we_do() -> None:
    random = np.random.default_rng(0)
    leaves: list[int] = []
    roots = [Table(PDF_CLASS, tuple(_random_node(random, 4, leaves) for _ in range(3))) for _ in range(4)]
    tree = Tree(Table(1, (None, *roots)), 3)
    kaldi = context_dependency(tree.to_bytes())
    assert (kaldi.num_pdfs, kaldi.context_width, kaldi.central_position) == (len(leaves), 3, 1)
    answers = set()
    for _ in range(500):
        window = [int(random.integers(200)), int(random.integers(1, 5)), int(random.integers(200))]
        state = int(random.integers(3))
        answers.add(tree.pdf(window, state))
        assert kaldi.compute(window, state) == (True, tree.pdf(window, state))
    assert len(answers) > 10


def test_unknown_events_are_refused() -> None:
    tree = monophone_tree({1: 3})
    for window, state in (([0], 0), ([2], 0), ([1], 3)):
        with pytest.raises(KeyError):
            tree.pdf(window, state)
