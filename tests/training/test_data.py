import weakref
from typing import Any

import numpy as np
import pytest
import torch

import asr_kd.training.loader
from asr_kd.errors import AsrKdError
from asr_kd.training.data import FrameData
from asr_kd.training.loader import Context, Loader, Shard
from tests.training.toy import DIMS, toy_data

CPU = torch.device("cpu")
CONTEXTS = [Context(4, 2, 1), Context(3, 3, 8), Context(0, 0, 1), Context(2, 0, 50)]


def expected_chunks(data: FrameData, context: Context) -> list[tuple[np.ndarray, np.ndarray]]:
    """Input window and labels of every chunk, frame by frame."""
    chunks = []
    for utterance_id in data.utterances:
        features = data.features.of(utterance_id)
        labels = data.targets["labels"].of(utterance_id)
        for start in range(0, len(features), context.chunk_frames):
            places = range(start - context.left, start + context.chunk_frames + context.right)
            window = np.stack([features[min(max(place, 0), len(features) - 1)] for place in places])
            chunks.append((window, labels[start : start + context.chunk_frames]))
    return chunks


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_chunk_is_its_window_with_replicated_edges(context: Context) -> None:
    data = toy_data()
    shard = Shard(data, data.utterances, context, torch.float16)
    expected = expected_chunks(data, context)
    assert len(shard) == len(expected)
    for place, (window, labels) in enumerate(expected):
        batch = shard.batch(torch.tensor([place]))
        assert batch.inputs.shape == (1, context.window, DIMS)
        np.testing.assert_array_equal(batch.inputs[0].numpy(), window)
        np.testing.assert_array_equal(batch.targets["labels"].numpy(), labels)
        if batch.counted is not None:
            expected_counted = np.arange(context.chunk_frames) < len(labels)
            np.testing.assert_array_equal(batch.counted.numpy(), expected_counted)


def test_batch_of_many_is_the_batches_of_one() -> None:
    data = toy_data()
    shard = Shard(data, data.utterances, CONTEXTS[1], torch.float16)
    places = torch.tensor([5, 0, 7])
    together = shard.batch(places)
    ones = [shard.batch(place[None]) for place in places]
    assert torch.equal(together.inputs, torch.cat([batch.inputs for batch in ones]))
    labels = torch.cat([batch.targets["labels"] for batch in ones])
    assert torch.equal(together.targets["labels"], labels)


def loader(data: FrameData, frames_held: int, seed: int = 1, context: Context = CONTEXTS[0]) -> Loader:
    budget = frames_held * data.bytes_a_frame()
    return Loader(data, context, 16, budget, seed, torch.float16, CPU)


@pytest.mark.parametrize("frames_held", [10**6, 60])
def test_an_epoch_sees_each_frame_at_most_once_and_nearly_all(frames_held: int) -> None:
    data = toy_data(utterances=30)
    # The first feature names the frame.
    numbers = np.arange(data.features.index.total_frames, dtype=np.float16)
    data.features.array[:, 0] = numbers
    batches = list(loader(data, frames_held).epoch(0))
    seen = torch.cat([batch.inputs[:, CONTEXTS[0].left, 0] for batch in batches]).tolist()
    assert len(set(seen)) == len(seen)
    shards = len(loader(data, frames_held)._shards(0))
    assert (shards == 1) == (frames_held > 1000)
    assert len(numbers) - len(seen) < 16 * shards
    assert seen != sorted(seen)
    assert {len(batch.inputs) for batch in batches} == {16}


@pytest.mark.parametrize("frames_held", [10**6, 60])
def test_skipping_gives_the_rest_of_the_same_epoch(frames_held: int) -> None:
    data = toy_data(utterances=30)
    whole = [batch.inputs for batch in loader(data, frames_held).epoch(3)]
    assert loader(data, frames_held).batches(3) == len(whole)
    for skip in (0, 1, 7, len(whole) - 1, len(whole)):
        rest = [batch.inputs for batch in loader(data, frames_held).epoch(3, skip)]
        assert len(rest) == len(whole) - skip
        assert all(torch.equal(*pair) for pair in zip(rest, whole[skip:], strict=True))


@pytest.mark.parametrize("skip", [0, 7])
def test_shards_gathered_ahead_are_the_same(skip: int) -> None:
    data = toy_data(utterances=30)
    ahead = loader(data, 60)
    assert not ahead.ahead
    ahead.ahead = True  # as on GPUs
    pairs = zip(loader(data, 60).epoch(3, skip), ahead.epoch(3, skip), strict=True)
    assert all(torch.equal(one.inputs, other.inputs) for one, other in pairs)
    # Left in the middle, as by a training that is interrupted.
    epoch = ahead.epoch(0)
    next(epoch)
    epoch.close()


def test_what_goes_wrong_ahead_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Shard:
        raise AsrKdError("utterance nobody is missing")

    ahead = loader(toy_data(utterances=30), 60)
    ahead.ahead = True
    monkeypatch.setattr(asr_kd.training.loader, "Shard", missing)
    with pytest.raises(AsrKdError, match="nobody is missing"):
        list(ahead.epoch(0))


def test_one_shard_at_a_time_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Shard] = weakref.WeakSet()

    class Counted(Shard):
        def __init__(self, *arguments: Any) -> None:
            assert not alive
            super().__init__(*arguments)
            alive.add(self)

    monkeypatch.setattr(asr_kd.training.loader, "Shard", Counted)
    for _ in loader(toy_data(utterances=30), 60).epoch(0):
        assert len(alive) == 1


def test_order_follows_seed_and_epoch() -> None:
    data = toy_data()

    def first(seed: int, epoch: int) -> torch.Tensor:
        return next(iter(loader(data, 10**6, seed).epoch(epoch))).inputs

    assert torch.equal(first(1, 0), first(1, 0))
    assert not torch.equal(first(1, 0), first(1, 1))
    assert not torch.equal(first(1, 0), first(2, 0))


def test_shards_keep_to_the_budget() -> None:
    data = toy_data(utterances=60)
    sizes = [int(data.lengths()[places].sum()) for places in loader(data, 200)._shards(0)]
    assert sum(sizes) == data.features.index.total_frames
    assert max(sizes) < 200 + 40 and min(sizes) > 100


def test_fewer_frames_than_a_batch_make_one_batch() -> None:
    data = toy_data(utterances=1)
    (batch,) = Loader(data, CONTEXTS[0], 1000, 10**9, 1, torch.float16, CPU).epoch(0)
    assert len(batch.inputs) == data.features.index.total_frames


def test_unaligned_utterances_are_left_out() -> None:
    data = toy_data(failed=2)
    assert data.utterances[0] == "utterance-2"
    shard = Shard(data, data.utterances, CONTEXTS[0], torch.float16)
    assert (shard.targets["labels"] >= 0).all()


def test_missing_utterance_is_named() -> None:
    with pytest.raises(AsrKdError, match="utterance nobody is missing"):
        toy_data().features.of("nobody")
