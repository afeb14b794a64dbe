"""Phonetic questions from data: which sets of phones sound alike (the purpose of Kaldi's cluster-phones)."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from asr_kd.hmm.tree_statistics import TreeStatistics, log_likelihood

PhoneSet = tuple[int, ...]
# The middle state of a phone depends least on its neighbours.
MIDDLE_CLASS = 1


def cluster_questions(statistics: TreeStatistics, speech: Sequence[int], silence: int) -> list[PhoneSet]:
    """Questions about a neighbouring phone: every phone alone, and every set that clustering forms.

    Phones are merged bottom-up, always the two sets whose union costs the least likelihood under one
    Gaussian each for the middle state; every set on the way but the last is a question.

    Args:
        statistics: of all triphone states.
        speech: the speech phones.
        silence: the silence phone.

    Returns:
        Sorted sets of phones, each once.
    """
    sums = _middle_sums(statistics, speech)
    sets: dict[int, PhoneSet] = {place: (phone,) for place, phone in enumerate(speech)}
    questions: set[PhoneSet] = {(phone,) for phone in (silence, *speech)}
    costs = {pair: _cost(sums, *pair) for pair in combinations(sets, 2)}
    while len(sets) > 2:
        first, second = min(costs, key=lambda pair: (costs[pair], pair))
        sets[first] = tuple(sorted(sets[first] + sets.pop(second)))
        sums[first] = sums[first] + sums[second]
        questions.add(sets[first])
        costs = {pair: cost for pair, cost in costs.items() if first not in pair and second not in pair}
        for other in sets:
            if other != first:
                pair = (min(first, other), max(first, other))
                costs[pair] = _cost(sums, *pair)
    return sorted(questions)


def _middle_sums(statistics: TreeStatistics, speech: Sequence[int]) -> np.ndarray:
    """``(phones, 1 + 2 * dims)``: count, first and second sums of each phone's middle state."""
    table = np.concatenate([statistics.counts[:, None], statistics.first, statistics.second], axis=1)
    middle = statistics.events[:, 3] == MIDDLE_CLASS
    return np.stack([table[middle & (statistics.events[:, 1] == phone)].sum(axis=0) for phone in speech])


def _cost(sums: np.ndarray, first: int, second: int) -> float:
    table = np.stack([sums[first], sums[second], sums[first] + sums[second]])
    dims = (table.shape[1] - 1) // 2
    likelihoods = log_likelihood(table[:, 0], table[:, 1 : 1 + dims], table[:, 1 + dims :])
    return float(likelihoods[0] + likelihoods[1] - likelihoods[2])
