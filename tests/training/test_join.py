import numpy as np
import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.training.data import FrameData, PerFrame, join
from asr_kd.training.loader import Context, Loader
from tests.training.toy import toy_data


def renamed(data: FrameData, suffix: str) -> FrameData:
    assert isinstance(data.features, PerFrame)
    old = data.features.index
    index = FrameIndex(tuple(one + suffix for one in old.ids), old.speakers, old.offsets)
    labels = data.targets["labels"]
    assert isinstance(labels, PerFrame)
    targets = {"labels": PerFrame(index, labels.array)}
    return FrameData(PerFrame(index, data.features.array), targets, [one + suffix for one in data.utterances])


def test_joined_parts_hold_the_frames_of_all() -> None:
    first, second = toy_data(4), renamed(toy_data(3, seed=1), "~other")
    both = join([first, join([second])])
    assert list(both.utterances) == [*first.utterances, *second.utterances]
    np.testing.assert_array_equal(both.lengths(), np.concatenate([first.lengths(), second.lengths()]))
    assert (both.dims, both.bytes_a_frame()) == (first.dims, first.bytes_a_frame())
    loader = Loader(both, Context(0, 0, 1), 1, 10**9, 0, torch.float16, torch.device("cpu"))
    batches = list(loader.epoch(0))
    labels = torch.cat([batch.targets["labels"] for batch in batches])
    expected = np.concatenate(
        [data.targets["labels"].of(one) for data in (first, second) for one in data.utterances]
    )
    assert sorted(labels.tolist()) == sorted(expected.tolist())


def test_an_utterance_of_two_parts_is_refused() -> None:
    with pytest.raises(AsrKdError, match=r"2 utterances are in two parts .* first utterance-0"):
        join([toy_data(4), toy_data(2, seed=1)])


def test_an_utterance_of_no_part_is_named() -> None:
    both = join([toy_data(2), renamed(toy_data(2, seed=1), "~other")])
    with pytest.raises(AsrKdError, match="utterance nobody is missing"):
        both.features.of("nobody")
