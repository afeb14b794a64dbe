import numpy as np
import pytest
import torch

from asr_kd.models import build
from asr_kd.models.inference import blocks, log_posteriors, log_posteriors_together

MODELS = [
    {"kind": "dnn", "hidden_layers": 2, "hidden_units": 8, "left_context": 4, "right_context": 1},
    {"kind": "tdnn", "channels": 8, "kernel_sizes": [3, 3], "dilations": [1, 2]},
]


@pytest.mark.parametrize("settings", MODELS)
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_equals_one_window_at_a_time_with_replicated_edges(settings: dict[str, object], frames: int) -> None:
    model = build(settings, 5, 6, seed=0).train()
    features = np.random.default_rng(0).normal(size=(frames, 5)).astype(np.float16)
    found = log_posteriors(model, features, batch_frames=4)
    assert found.shape == (frames, 6) and found.dtype == torch.float32
    assert model.training
    model.eval()
    for frame in range(frames):
        places = range(frame - model.left_context, frame + model.right_context + 1)
        window = torch.tensor(np.stack([features[min(max(place, 0), frames - 1)] for place in places]))
        expected = model(window[None].float())[0, 0].log_softmax(0)
        torch.testing.assert_close(found[frame], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", MODELS)
def test_utterances_scored_together_do_not_see_each_other(settings: dict[str, object]) -> None:
    model, random = build(settings, 5, 6, seed=0).train(), np.random.default_rng(0)
    utterances = [random.normal(size=(frames, 5)).astype(np.float16) for frames in (3, 0, 17, 1)]
    for frames, found in zip(utterances, log_posteriors_together(model, utterances), strict=True):
        torch.testing.assert_close(found, log_posteriors(model, frames), rtol=1e-5, atol=1e-5)
    assert model.training
    assert [len(found) for found in log_posteriors_together(model, utterances[1:2])] == [0]


def test_no_frames_give_no_posteriors() -> None:
    assert log_posteriors(build(MODELS[0], 5, 6), np.zeros((0, 5), np.float16)).shape == (0, 6)


@pytest.mark.parametrize("settings", MODELS)
def test_bf16_products_leave_posteriors_nearly_alone(settings: dict[str, object]) -> None:
    model = build(settings, 5, 6, seed=0)
    features = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float16)
    exact, fast = log_posteriors(model, features), log_posteriors(model, features, precision=torch.bfloat16)
    assert fast.dtype == torch.float32
    torch.testing.assert_close(fast.exp().sum(1), torch.ones(50))
    divergence = (exact.exp() * (exact - fast)).sum(1)
    assert 0 < divergence.mean() < 1e-3


@pytest.mark.parametrize("length", [1, 10, 25, 30])
def test_blocks_with_their_context_are_the_whole(length: int) -> None:
    model = build(
        {"kind": "dnn", "left_context": 3, "right_context": 2, "hidden_units": 8}, 4, 5, seed=0
    ).eval()
    frames = np.random.default_rng(0).normal(size=(length, 4)).astype(np.float32)
    pieces = list(blocks(frames, context=3, most=10))
    assert [first for first, _, _ in pieces] == list(range(0, length, 10))
    joined = torch.cat([log_posteriors(model, piece)[own] for _, piece, own in pieces])
    torch.testing.assert_close(joined, log_posteriors(model, frames))
