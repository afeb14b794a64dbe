"""Decoding a whole part in worker processes, with one or several settings of the search at a time.

Nothing here imports torch: its workers start in a fraction of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asr_kd.decoding.graph import Graph, load_graph
from asr_kd.decoding.search import Hypothesis, Search, SearchSettings
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import map_processes

_ITEM_FRAMES = 4_000  # of one piece of work


def decode_part(
    graph_folder: Path,
    columns: int,
    scores: Path,
    index: FrameIndex,
    settings: Sequence[SearchSettings],
    workers: int,
    description: str,
    utterances: Sequence[int] | None = None,
) -> list[dict[str, Hypothesis]]:
    """Search utterances with every one of `settings`; graph and scores are loaded once a worker.

    Args:
        graph_folder: with ``HCLG.fst`` and ``words.txt``.
        columns: the graph's `highest_input_label()`.
        scores: a ``.npy`` file ``(frames, senones)`` written by `acoustic.score_part`.
        index: of the part.
        settings: each gives one decoding of the part.
        workers: processes.
        description: for the progress bar.
        utterances: the places of those to decode; none: all.

    Returns:
        For each of `settings` the hypotheses by utterance id, in the order of the index.

    Raises:
        AsrKdError: scores and graph do not fit each other; names the utterance.
    """
    chosen = range(len(index)) if utterances is None else utterances
    pieces = split_utterances(index, chosen, _ITEM_FRAMES)
    items = [(setting, piece) for setting in settings for piece in pieces]
    found = dict(
        map_processes(
            _search_utterances,
            items,
            workers,
            description,
            initializer=_start_worker,
            initargs=(graph_folder, columns, scores, index),
        )
    )
    decodings: list[dict[str, Hypothesis]] = []
    for first in range(0, len(items), max(1, len(pieces))):
        places = range(first, first + len(pieces))
        decodings.append(
            {
                index.ids[place]: hypothesis
                for item in places
                for place, hypothesis in zip(items[item][1], found[item], strict=True)
            }
        )
    return decodings


def split_utterances(index: FrameIndex, chosen: Sequence[int], frames: int) -> list[list[int]]:
    """Places of utterances in pieces of about so many frames, each at least one utterance."""
    pieces: list[list[int]] = []
    filled = frames
    for place in chosen:
        if filled >= frames:
            pieces.append([])
            filled = 0
        pieces[-1].append(place)
        filled += int(index.lengths[place])
    return pieces


@dataclass(eq=False)
class _Worker:
    """What a worker process holds from its first to its last piece of work."""

    graph: Graph
    columns: int
    scores: np.ndarray
    index: FrameIndex
    searches: dict[SearchSettings, Search] = field(default_factory=dict)

    def search(self, settings: SearchSettings) -> Search:
        if settings not in self.searches:
            self.searches[settings] = Search(self.graph, self.columns, settings)
        return self.searches[settings]


_worker: _Worker | None = None


def _start_worker(graph_folder: Path, columns: int, scores: Path, index: FrameIndex) -> None:
    global _worker  # noqa: PLW0603 - how an initializer hands over to the function of a process pool
    _worker = _Worker(load_graph(graph_folder), columns, open_frames(scores, index), index)


def _search_utterances(item: tuple[SearchSettings, list[int]]) -> list[Hypothesis]:
    assert _worker is not None
    settings, places = item
    search = _worker.search(settings)
    return [search(_worker.index.ids[place], _worker.scores[_worker.index.span(place)]) for place in places]
