"""What workers do with little room is what they do with much."""

from pathlib import Path

import numpy as np
import pytest

from asr_kd.hmm import GmmHmm, shards
from asr_kd.hmm.alignment import AlignmentSettings
from asr_kd.hmm.corpus import Corpus, Transcripts, shard_ranges
from asr_kd.hmm.tree_statistics import merge
from tests.hmm.toy import LEXICON, Toy

SETTINGS = AlignmentSettings(10.0, 40.0, 0.5)


def start(toy: Toy, folder: Path, room: int) -> Corpus:
    """The state of a worker, in this process."""
    folder.mkdir()
    corpus = Corpus.of(toy.index, toy.mfcc, toy.transcripts, LEXICON)
    corpus = corpus.with_alignments(folder / "alignments.npy")
    shards.initialise(corpus, SETTINGS, room)
    return corpus


def test_transcripts_come_back() -> None:
    spoken = [["TO", "ONE"], [], ["ONE"]]
    transcripts = Transcripts.of(spoken)
    assert [transcripts.words(place) for place in range(3)] == spoken


def test_statistics_do_not_depend_on_the_room(
    toy: Toy, toy_model: GmmHmm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, room, block, pieces in (("much", 10**9, 10**6, 1), ("little", 0, 50, 3)):
        monkeypatch.setattr(shards, "BLOCK_FRAMES", block)
        start(toy, tmp_path / name, room)
        definition, densities = toy_model.definition, toy_model.densities
        shards.align_pass(0, definition, densities, 1)
        found.append(
            (
                shards.training_pass(0, definition, densities, 1),
                shards.mllt_pass(0, definition, densities),
                merge(
                    (shards.tree_pass(0, definition, densities.transform, n, pieces) for n in range(pieces)),
                    len(densities.transform),
                ),
            )
        )
    (gmm, mllt, tree), (gmm_in_blocks, mllt_in_blocks, tree_in_blocks) = found
    assert gmm.gmm.frames == gmm_in_blocks.gmm.frames > 0 and gmm.failed == gmm_in_blocks.failed
    np.testing.assert_array_equal(gmm.transition_counts, gmm_in_blocks.transition_counts)
    np.testing.assert_allclose(gmm.gmm.first, gmm_in_blocks.gmm.first, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(mllt.scatter, mllt_in_blocks.scatter, rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(tree.events, tree_in_blocks.events)
    np.testing.assert_allclose(tree.second, tree_in_blocks.second, rtol=1e-9)


def test_what_fits_is_kept_and_the_rest_made_again(toy: Toy, toy_model: GmmHmm, tmp_path: Path) -> None:
    kept = {}
    for room in (0, 60_000, 10**9):
        start(toy, tmp_path / str(room), room)
        (worker,) = shards._workers
        worker.use(toy_model.definition)
        graphs = [worker.graph(place) for place in range(20)]
        kept[room] = [worker.graph(place) is graph for place, graph in enumerate(graphs)]
    assert not any(kept[0])
    assert all(kept[10**9])
    assert any(kept[60_000]) and not all(kept[60_000])


def test_alignments_are_in_the_file(toy: Toy, toy_model: GmmHmm, tmp_path: Path) -> None:
    corpus = start(toy, tmp_path / "a", 0)
    assert corpus.alignments is not None
    shards.align_pass(0, toy_model.definition, toy_model.densities, 2)
    found = np.load(corpus.alignments)
    aligned = [bool(found[toy.index.span(place)].all()) for place in shard_ranges(toy.index)[0]]
    assert aligned == [place % 2 == 0 for place in range(len(aligned))]
