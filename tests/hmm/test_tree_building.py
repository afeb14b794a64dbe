import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.hmm import tree_statistics
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.topology import states_of
from asr_kd.hmm.tree import LEFT, RIGHT, Leaf, Split, Table
from asr_kd.hmm.tree_building import MIN_OCCUPANCY, build_tree, tie_rare_phones
from asr_kd.hmm.tree_statistics import TreeStatistics

PHONES = PhoneTable.of("ABCD")  # 2, 3, 4, 5
QUESTIONS = [(1,), (2,), (3,), (4,), (5,), (2, 3), (4, 5)]


def _statistics(seed: int = 0, frames: int = 600, phones: tuple[int, ...] = (2, 3, 4, 5)) -> TreeStatistics:
    """Every triphone state, with means that depend on the neighbours."""
    random = np.random.default_rng(seed)
    shift = {key: random.standard_normal((6, 3)) for key in (LEFT, RIGHT)}
    events = [
        (left, phone, right, state)
        for phone in (1, *phones)
        for left in range(1, 6)
        for right in range(1, 6)
        for state in range(states_of(PHONES, phone))
    ]
    table = np.repeat(np.array(events), frames // 10, axis=0)
    means = 5.0 * table[:, 1:2] + shift[LEFT][table[:, 0]] + shift[RIGHT][table[:, 2]] * (table[:, 3:4] == 2)
    features = means + random.standard_normal((len(table), 3))
    return tree_statistics.accumulate(table, features.astype(np.float32))


def _loss(statistics: TreeStatistics, mask: np.ndarray) -> float:
    return statistics.rows(mask).log_likelihood() if mask.any() else 0.0


def test_leaves_hold_the_events_that_the_tree_sends_there() -> None:
    statistics = _statistics()
    tree, leaves = build_tree(statistics, PHONES, QUESTIONS, leaves=30)
    assert len(leaves) == 30
    for row, event in enumerate(statistics.events):
        *window, state = map(int, event)
        leaf = leaves[tree.pdf(window, state)]
        place = np.flatnonzero((leaf.events == event).all(axis=1))
        assert len(place) == 1 and leaf.counts[place[0]] == statistics.counts[row]
    assert min(leaf.counts.sum() for leaf in leaves) >= MIN_OCCUPANCY


def test_first_split_is_the_best_of_all() -> None:
    statistics = _statistics()
    roots = 4 * 3 + 5
    tree, _ = build_tree(statistics, PHONES, QUESTIONS, leaves=roots + 1)
    gains = {}
    for phone in PHONES.speech:
        for state in range(3):
            own = statistics.rows((statistics.events[:, 1] == phone) & (statistics.events[:, 3] == state))
            for key in (LEFT, RIGHT):
                for question in QUESTIONS:
                    yes = np.isin(own.events[:, key], question)
                    parts = _loss(own, yes) + _loss(own, ~yes)
                    gains[phone, state, key, question] = parts - own.log_likelihood()
    phone, state, key, question = max(gains, key=gains.__getitem__)
    assert isinstance(tree.root, Table)
    table = tree.root.children[phone]
    assert isinstance(table, Table)
    split = table.children[state]
    assert isinstance(split, Split) and (split.key, split.yes_values) == (key, question)
    assert isinstance(split.yes, Leaf) and isinstance(split.no, Leaf)


def test_silence_is_never_split() -> None:
    tree, _ = build_tree(_statistics(), PHONES, QUESTIONS, leaves=60)
    for state in range(5):
        assert len({tree.pdf([left, 1, right], state) for left in range(6) for right in range(6)}) == 1


def test_rare_phones_share_states_of_the_closest_phone() -> None:
    seen = _statistics(phones=(2, 3, 4))
    few = tree_statistics.accumulate(np.array([[2, 5, 3, 1]] * 20), np.full((20, 3), 15.3, np.float32))
    statistics = tree_statistics.merge([seen, few], 3)
    hosts = tie_rare_phones(statistics, PHONES)
    assert hosts == {1: 1, 2: 2, 3: 3, 4: 4, 5: 3}  # phone 3 lies at 15
    tree, _ = build_tree(statistics, PHONES, QUESTIONS, leaves=20)
    assert tree.pdf([2, 5, 4], 1) == tree.pdf([2, 3, 4], 1)


def test_unseen_phone_gets_states_too() -> None:
    tree, _ = build_tree(_statistics(phones=(2, 3, 4)), PHONES, QUESTIONS, leaves=20)
    assert tree.pdf([2, 5, 4], 0) in {tree.pdf([2, host, 4], 0) for host in (2, 3, 4)}


def test_too_few_leaves_are_refused() -> None:
    with pytest.raises(AsrKdError, match=r"align\.gmm\.leaves=16.*at least 17"):
        build_tree(_statistics(), PHONES, QUESTIONS, leaves=16)
    with pytest.raises(AsrKdError, match="no training utterance"):
        build_tree(tree_statistics.merge([], 3), PHONES, QUESTIONS, leaves=50)
