"""Phonetic decision trees, and their serialisation in Kaldi's binary format.

An event is what Kaldi calls so: the phone at each of the positions 0 (left), 1 (centre) and 2 (right) of a
triphone, and under the key -1 the pdf class, which is the state of the HMM. A tree maps it to a pdf-id.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import kaldi_hmm_gmm as khg

LEFT, CENTRE, RIGHT, PDF_CLASS = 0, 1, 2, -1
MONOPHONE_WIDTH, TRIPHONE_WIDTH = 1, 3


@dataclass(frozen=True)
class Leaf:
    """The end of a path: a pdf-id."""

    pdf: int


@dataclass(frozen=True)
class Split:
    """A question: is the value under `key` in the set `yes_values`?"""

    key: int
    yes_values: tuple[int, ...]
    yes: "Node"
    no: "Node"


@dataclass(frozen=True)
class Table:
    """One child for every value under `key`, from 0; None where the value does not occur."""

    key: int
    children: tuple["Node | None", ...]


Node = Leaf | Split | Table


@dataclass(frozen=True)
class Tree:
    """A decision tree over a window of phones.

    Attributes:
        root: its first question.
        width: phones in the window (1 for monophones, 3 for triphones); the centre is in its middle.
    """

    root: Node
    width: int

    def pdf(self, window: Sequence[int], pdf_class: int) -> int:
        """The pdf-id of one state of the phone in the middle of `window` (phone numbers, 0 beyond the ends).

        Raises:
            KeyError: the tree knows no such phone or state.
        """
        event = {**dict(enumerate(window)), PDF_CLASS: pdf_class}
        node: Node | None = self.root
        while not isinstance(node, Leaf):
            node = _descend(node, event)
        return node.pdf

    def to_bytes(self) -> bytes:
        """The tree in Kaldi's binary format of ``ContextDependency``, without the mark of files."""
        header = b"ContextDependency " + _integer(self.width) + _integer(self.width // 2)
        return header + b"ToPdf " + _serialise(self.root) + b"EndContextDependency "


def _descend(node: "Split | Table | None", event: Mapping[int, int]) -> "Node | None":
    if node is None:
        raise KeyError(f"no leaf for the event {event}")
    value = event[node.key]
    if isinstance(node, Split):
        return node.yes if value in node.yes_values else node.no
    if value >= len(node.children):
        raise KeyError(f"no leaf for the event {event}")
    return node.children[value]


def _integer(value: int) -> bytes:
    return struct.pack("<bi", 4, value)


def _size(value: int) -> bytes:
    # Kaldi writes the width of an unsigned number as a negative one.
    return struct.pack("<bI", -4, value)


def _serialise(node: "Node | None") -> bytes:
    if node is None:
        return b"NULL "
    if isinstance(node, Leaf):
        return b"CE " + _integer(node.pdf)
    if isinstance(node, Table):
        children = b"".join(map(_serialise, node.children))
        return b"TE " + _integer(node.key) + _size(len(node.children)) + b"( " + children + b") "
    values = struct.pack(f"<bi{len(node.yes_values)}i", 4, len(node.yes_values), *node.yes_values)
    branches = b"{ " + _serialise(node.yes) + _serialise(node.no) + b"} "
    return b"SE " + _integer(node.key) + values + branches


def monophone_tree(states: Mapping[int, int]) -> Tree:
    """A tree that gives every state of every phone a pdf of its own.

    Args:
        states: phone number -> its number of states.
    """
    children: list[Node | None] = [None] * (max(states) + 1)
    pdf = 0
    for phone in sorted(states):
        children[phone] = Table(PDF_CLASS, tuple(Leaf(pdf + state) for state in range(states[phone])))
        pdf += states[phone]
    return Tree(Table(0, tuple(children)), MONOPHONE_WIDTH)


def context_dependency(tree_bytes: bytes) -> khg.ContextDependency:
    """Kaldi's own object for a tree that `Tree.to_bytes` wrote."""
    signed = [byte - 256 if byte > 127 else byte for byte in tree_bytes]
    dependency = khg.ContextDependency.__new__(khg.ContextDependency)
    dependency.__setstate__((signed,))
    return dependency
