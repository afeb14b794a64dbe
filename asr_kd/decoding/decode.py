"""Decoding a whole part in worker processes, with one or several settings of the search at a time.

Nothing here imports torch: its workers start in a fraction of a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from asr_kd.decoding.graph import Graph, load_graph
from asr_kd.decoding.search import Hypothesis, Search, SearchSettings
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import WorkerPool

_ITEM_FRAMES = 4_000  # of one piece of work


@dataclass(frozen=True)
class Scored:
    """A part with scores.

    Attributes:
        scores: a ``.npy`` file ``(frames, senones)`` written by `acoustic.score_part`.
        features: the part's folder of features, whose index says which rows are whose.
    """

    scores: Path
    features: Path


def decode_part(
    pool: WorkerPool,
    graph: Path,
    columns: int,
    scored: Scored,
    settings: Sequence[SearchSettings],
    description: str,
    utterances: Sequence[int] | None = None,
) -> list[dict[str, Hypothesis]]:
    """Search utterances with every one of `settings`.

    Args:
        pool: where the work is done; its workers keep the graphs they have loaded.
        graph: folder with ``HCLG.fst`` and ``words.txt``.
        columns: from `count_columns`.
        scored: what to search.
        settings: each gives one decoding of the part.
        description: for the progress bar.
        utterances: the places of those to decode; none: all.

    Returns:
        For each of `settings` the hypotheses by utterance id, in the order of the index.

    Raises:
        AsrKdError: scores and graph do not fit each other; names the utterance.
    """
    index = FrameIndex.load(scored.features)
    chosen = range(len(index)) if utterances is None else utterances
    pieces = split_utterances(index, chosen, _ITEM_FRAMES)
    items = [_Item(graph, columns, scored, one, tuple(piece)) for one in settings for piece in pieces]
    found = dict(pool.map(_search_utterances, items, description))
    decodings: list[dict[str, Hypothesis]] = [{} for _ in settings]
    for number in range(len(items)):
        decodings[number // len(pieces)].update(
            (index.ids[place], hypothesis)
            for place, hypothesis in zip(items[number].places, found[number], strict=True)
        )
    return decodings


def count_columns(pool: WorkerPool, graph: Path) -> int:
    """The `highest_input_label` of a graph, by a worker: it keeps the graph that it has loaded for it."""
    ((_, columns),) = pool.map(_count_columns, [graph], f"{graph.name}: counting its senones")
    return columns


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


@dataclass(frozen=True)
class _Item:
    """A piece of work: some utterances of a part, with one setting of the search."""

    graph: Path
    columns: int
    scored: Scored
    settings: SearchSettings
    places: tuple[int, ...]


@lru_cache
def _loaded_graph(folder: Path) -> Graph:
    return load_graph(folder)


def _count_columns(graph: Path) -> int:
    return _loaded_graph(graph).highest_input_label


def _search_utterances(item: _Item) -> list[Hypothesis]:
    index = FrameIndex.load(item.scored.features)
    scores = open_frames(item.scored.scores, index)
    search = Search(_loaded_graph(item.graph), item.columns, item.settings)
    return [search(index.ids[place], scores[index.span(place)]) for place in item.places]
