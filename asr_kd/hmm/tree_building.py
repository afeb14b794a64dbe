"""Growing a triphone decision tree (Young, Odell and Woodland 1994; Kaldi's build-tree)."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.questions import PhoneSet
from asr_kd.hmm.topology import states_of
from asr_kd.hmm.tree import (
    CENTRE,
    LEFT,
    PDF_CLASS,
    RIGHT,
    TRIPHONE_WIDTH,
    Leaf,
    Node,
    Split,
    Table,
    Tree,
)
from asr_kd.hmm.tree_statistics import TreeStatistics, log_likelihood

# Both halves of a split need this many frames, or their Gaussians are guesses.
MIN_OCCUPANCY = 100.0
# Gain in log likelihood that a split must bring (Kaldi's `--thresh` of build-tree).
MIN_GAIN = 300.0
# Phones seen in fewer frames than this have no states of their own but share those of another phone.
MIN_PHONE_FRAMES = 60.0


@dataclass
class _Growing:
    """A leaf that may still be split, or a split one with its two halves."""

    statistics: TreeStatistics
    gain: float = 0.0
    key: int = LEFT
    question: PhoneSet = ()
    yes_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    halves: "tuple[_Growing, _Growing] | None" = None


def build_tree(
    statistics: TreeStatistics, phones: PhoneTable, questions: Sequence[PhoneSet], leaves: int
) -> tuple[Tree, list[TreeStatistics]]:
    """Split triphone states greedily, always where the likelihood gains most.

    Every state of every phone is a root of its own; only silence is never asked about its neighbours.

    Args:
        statistics: of all triphone states seen.
        phones: the phones of the model.
        questions: sets of phones to ask about, left and right.
        leaves: upper bound on leaves.

    Returns:
        The tree, and the statistics of each leaf by pdf-id.

    Raises:
        AsrKdError: the bound is below the number of roots, or nothing was seen.
    """
    if not len(statistics.counts):
        raise AsrKdError(
            "align: no training utterance could be aligned; check transcripts, lexicon and audio"
        )
    hosts = tie_rare_phones(statistics, phones)
    roots = {
        (phone, state): _Growing(_of_state(statistics, phone, state))
        for phone in phones.numbers
        if hosts[phone] == phone
        for state in range(states_of(phones, phone))
    }
    if leaves < len(roots):
        raise AsrKdError(
            f"align.gmm.leaves={leaves}: {len(phones.names)} phones need at least {len(roots)} senones"
        )
    growing = [root for (phone, _), root in roots.items() if phone != phones.silence]
    _split_greedily(growing, questions, leaves - len(roots))
    leaf_statistics: list[TreeStatistics] = []
    subtrees = {place: _finish(root, leaf_statistics) for place, root in roots.items()}
    children: list[Node | None] = [None]
    for phone in phones.numbers:
        states = range(states_of(phones, phone))
        children.append(Table(PDF_CLASS, tuple(subtrees[hosts[phone], state] for state in states)))
    return Tree(Table(CENTRE, tuple(children)), TRIPHONE_WIDTH), leaf_statistics


def tie_rare_phones(statistics: TreeStatistics, phones: PhoneTable) -> dict[int, int]:
    """Which phone's states each phone uses: its own, or for a rare phone those of the phone closest to it.

    The closest phone is the one that loses least likelihood when both are modelled by one Gaussian; a
    phone never seen goes to the phone that resembles all speech together most.
    """
    sums = {phone: statistics.rows(statistics.events[:, CENTRE] == phone) for phone in phones.numbers}
    frequent = [phone for phone in phones.speech if sums[phone].counts.sum() >= MIN_PHONE_FRAMES]
    if not frequent:
        raise AsrKdError("align: too little speech in the training part to train any phone")
    everything = statistics.rows(statistics.events[:, CENTRE] != phones.silence)
    hosts = {phone: phone for phone in (phones.silence, *frequent)}
    for phone in set(phones.speech) - set(frequent):
        own = sums[phone] if len(sums[phone].counts) else everything
        hosts[phone] = min(frequent, key=lambda host: _merge_cost(own, sums[host]))
    return hosts


def _merge_cost(one: TreeStatistics, other: TreeStatistics) -> float:
    together = log_likelihood(
        one.counts.sum() + other.counts.sum(),
        one.first.sum(axis=0) + other.first.sum(axis=0),
        one.second.sum(axis=0) + other.second.sum(axis=0),
    )
    return one.log_likelihood() + other.log_likelihood() - float(together)


def _of_state(statistics: TreeStatistics, phone: int, state: int) -> TreeStatistics:
    return statistics.rows((statistics.events[:, CENTRE] == phone) & (statistics.events[:, 3] == state))


def _split_greedily(growing: Sequence[_Growing], questions: Sequence[PhoneSet], splits: int) -> None:
    answers = _answers(questions)
    heap: list[tuple[float, int, _Growing]] = []
    born = 0  # breaks ties between equal gains: the older leaf first
    for root in growing:
        _find_best_split(root, questions, answers)
        heap.append((-root.gain, born, root))
        born += 1
    heapq.heapify(heap)
    while splits and heap and -heap[0][0] >= MIN_GAIN:
        leaf = heapq.heappop(heap)[2]
        leaf.halves = (
            _Growing(leaf.statistics.rows(leaf.yes_rows)),
            _Growing(leaf.statistics.rows(~leaf.yes_rows)),
        )
        for half in leaf.halves:
            _find_best_split(half, questions, answers)
            heapq.heappush(heap, (-half.gain, born, half))
            born += 1
        splits -= 1


def _answers(questions: Sequence[PhoneSet]) -> np.ndarray:
    """``(questions, phones + 1)`` bool: is the phone in the set?"""
    highest = max(max(question) for question in questions)
    answers = np.zeros((len(questions), highest + 1), dtype=bool)
    for row, question in enumerate(questions):
        answers[row, list(question)] = True
    return answers


def _find_best_split(leaf: _Growing, questions: Sequence[PhoneSet], answers: np.ndarray) -> None:
    own = leaf.statistics
    table = np.concatenate([own.counts[:, None], own.first, own.second], axis=1)
    dims = own.first.shape[1]
    whole = own.log_likelihood()
    for key in (LEFT, RIGHT):
        yes_rows = answers[:, own.events[:, key]]
        yes = yes_rows @ table
        gains = -np.full(len(questions), whole)
        for half in (yes, table.sum(axis=0) - yes):
            gains += log_likelihood(half[:, 0], half[:, 1 : 1 + dims], half[:, 1 + dims :])
            gains[half[:, 0] < MIN_OCCUPANCY] = -np.inf
        best = int(np.argmax(gains))
        if gains[best] > leaf.gain:
            leaf.gain, leaf.key, leaf.question = float(gains[best]), key, questions[best]
            leaf.yes_rows = yes_rows[best]


def _finish(growing: _Growing, leaf_statistics: list[TreeStatistics]) -> Node:
    if growing.halves is None:
        leaf_statistics.append(growing.statistics)
        return Leaf(len(leaf_statistics) - 1)
    yes, no = growing.halves
    return Split(growing.key, growing.question, _finish(yes, leaf_statistics), _finish(no, leaf_statistics))
