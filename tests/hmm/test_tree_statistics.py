from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from asr_kd.hmm import tree_statistics

# A monophone model: pdfs 0-4 silence, 5-7 phone 2, 8-10 phone 3.
PHONE_OF_PDF = np.array([1] * 5 + [2] * 3 + [3] * 3)
CLASS_OF_PDF = np.array([0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2])


def test_contexts_of_an_alignment() -> None:
    pdfs = np.array([0, 1, 1, 4, 5, 5, 6, 7, 5, 6, 6, 7, 8, 9, 10])
    events = tree_statistics.utterance_events(PHONE_OF_PDF[pdfs], CLASS_OF_PDF[pdfs])
    silence, first, second, third = (0, 1, 2), (1, 2, 2), (2, 2, 3), (2, 3, 0)
    expected = [(*silence, state) for state in (0, 1, 1, 4)]
    expected += [(*first, state) for state in (0, 0, 1, 2)]
    expected += [(*second, state) for state in (0, 1, 1, 2)]
    expected += [(*third, state) for state in (0, 1, 2)]
    assert events.tolist() == [list(event) for event in expected]


def test_sums_equal_a_dictionary() -> None:
    random = np.random.default_rng(0)
    events = random.integers(0, 3, (300, 4))
    features = random.standard_normal((300, 5)).astype(np.float32)
    expected: dict[tuple[int, ...], list[np.ndarray]] = defaultdict(list)
    for event, frame in zip(events, features, strict=True):
        expected[tuple(event)].append(frame.astype(np.float64))
    halves = [
        tree_statistics.accumulate(events[part], features[part]) for part in (slice(0, 90), slice(90, None))
    ]
    statistics = tree_statistics.merge(halves, 5)
    assert [tuple(event) for event in statistics.events] == sorted(expected)
    for row, event in enumerate(sorted(expected)):
        frames = np.stack(expected[event])
        assert statistics.counts[row] == len(frames)
        np.testing.assert_allclose(statistics.first[row], frames.sum(axis=0))
        np.testing.assert_allclose(statistics.second[row], (frames**2).sum(axis=0))


def test_log_likelihood_is_that_of_the_fitted_gaussian() -> None:
    frames = np.random.default_rng(1).normal(2, 3, (50, 3))
    variance = frames.var(axis=0)
    slow = sum(
        -0.5 * np.log(2 * np.pi * variance[d]) - (frame[d] - frames[:, d].mean()) ** 2 / (2 * variance[d])
        for frame in frames
        for d in range(3)
    )
    fast = tree_statistics.log_likelihood(np.array(50.0), frames.sum(axis=0), (frames**2).sum(axis=0))
    np.testing.assert_allclose(fast, slow)


def test_nothing_merges_to_nothing() -> None:
    assert len(tree_statistics.merge([], 3).counts) == 0
    assert len(tree_statistics.merge([], 3, Path()).counts) == 0


@pytest.mark.parametrize("in_files", [False, True])
def test_pieces_are_added_up_in_their_order(in_files: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    # Numbers of phones and states as large as they may be.
    kinds = np.array([0, 1, 2**18 - 1]), np.array([0, 3, 2**8 - 1])
    pieces = []
    for _ in range(20):
        events = np.stack([random.choice(kinds[column == 3], 50) for column in range(4)], axis=1)
        pieces.append(tree_statistics.accumulate(events, random.normal(size=(50, 5))))
    expected: dict[tuple[int, ...], np.ndarray] = {}
    for piece in pieces:
        for row, event in enumerate(map(tuple, piece.events.tolist())):
            sums = np.array([piece.counts[row], *piece.first[row], *piece.second[row]])
            expected[event] = expected.get(event, 0.0) + sums
    merged = tree_statistics.merge(iter(pieces), 5, tmp_path if in_files else None)
    assert all(isinstance(sums, np.memmap) == in_files for sums in (merged.first, merged.second))
    assert not list(tmp_path.iterdir())
    assert list(map(tuple, merged.events.tolist())) == sorted(expected)
    found = np.concatenate([merged.counts[:, None], merged.first, merged.second], axis=1)
    np.testing.assert_array_equal(found, np.stack([expected[event] for event in sorted(expected)]))
