import itertools
from pathlib import Path

import numpy as np
import pytest

from asr_kd.decoding.graph import Graph, load_graph
from asr_kd.decoding.search import Search, SearchSettings
from asr_kd.errors import AsrKdError
from tests.decoding.graphs import write_graph

WIDE = SearchSettings(acoustic_scale=1.0, beam=1000.0, max_active=10_000)
WORDS = ["A", "B"]
LOOP, WORD = 0.1, 1.0  # costs of the graph


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return load_graph(write_graph(tmp_path, WORDS, LOOP))


def brute_force(scores: np.ndarray) -> tuple[str, ...]:
    """The best complete path of the graph, over all senone sequences of the utterance's length."""
    best, words = -np.inf, ()
    for path in itertools.product(range(3), repeat=len(scores)):
        found, state, value = [], None, 0.0
        for frame, senone in enumerate(path):
            if senone == 2 and state is not None:
                state = None
            elif senone != 2 and state is None:
                found, state, value = [*found, WORDS[senone]], senone, value - WORD
            elif senone != 2 and state == senone:
                value -= LOOP
            else:
                break
            value += scores[frame, senone]
        else:
            if state is None and value > best:
                best, words = value, tuple(found)
    return words


@pytest.mark.parametrize("seed", range(8))
def test_best_path_against_all_paths(graph: Graph, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0, 2, (8, 3)).astype(np.float32)
    hypothesis = Search(graph, 3, WIDE)("u", scores)
    assert hypothesis.final
    assert hypothesis.words == brute_force(scores)


def test_acoustic_scale_multiplies_the_scores(graph: Graph) -> None:
    # Two words cost 2, one with two loops 1.2: a small scale takes the cheaper path.
    scores = np.array([[2, 0, 0], [1, 0, 2], [2, 0, 1], [0, 0, 9]], np.float32)
    many = Search(graph, 3, SearchSettings(1.0, 1000.0, 10_000))("u", scores)
    few = Search(graph, 3, SearchSettings(0.1, 1000.0, 10_000))("u", scores)
    assert many.words == ("A", "A")
    assert few.words == ("A",)


def test_a_path_that_is_not_final_is_flagged_and_kept(graph: Graph) -> None:
    search = Search(graph, 3, WIDE)
    cut_off = np.array([[0, -50, -50]], np.float32)
    hypothesis = search("u", cut_off)
    assert not hypothesis.final
    assert hypothesis.words == ("A",)
    # The next utterance starts afresh.
    assert search("v", np.array([[-50, 0, -50], [-50, -50, 0]], np.float32)).words == ("B",)


def test_half_precision_scores_are_accepted(graph: Graph) -> None:
    scores = np.array([[0, -50, -50], [-50, -50, 0]], np.float16)
    assert Search(graph, 3, WIDE)("u", scores).words == ("A",)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((5, 2), np.float32), "scores of 2 senones, but the graph reads 3"),
        (np.zeros(5, np.float32), "shape"),
        (np.zeros((0, 3), np.float32), "shape"),
        (np.full((5, 3), np.nan, np.float32), "not finite"),
        (np.full((5, 3), -np.inf, np.float32), "not finite"),
    ],
)
def test_unfit_scores_are_refused_by_utterance(graph: Graph, scores: np.ndarray, message: str) -> None:
    with pytest.raises(AsrKdError, match=f"u7: .*{message}"):
        Search(graph, 3, WIDE)("u7", scores)


def test_pieces_of_an_utterance_are_the_whole(graph: Graph) -> None:
    scores = np.random.default_rng(8).standard_normal((40, 3)).astype(np.float32)
    search = Search(graph, 3, WIDE)
    whole = search("whole", scores)
    search.start()
    for piece in np.split(scores, [1, 2, 17, 30]):
        search.advance("pieces", piece)
    assert search.hypothesis("pieces") == whole


def test_path_has_a_senone_a_frame_and_words_where_they_begin(graph: Graph) -> None:
    labels = [0, 0, 2, 1, 1, 1, 2, 1, 2]
    search = Search(graph, 3, WIDE)
    search.start()
    search.advance("x", 20 * np.eye(3, dtype=np.float32)[labels])
    path = search.path("x")
    assert path.senones.tolist() == labels
    assert path.words == (("A", 0), ("B", 3), ("B", 7))
