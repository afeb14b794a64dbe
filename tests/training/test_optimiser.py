from pathlib import Path

import torch

from asr_kd.config import OptimiserConfig
from asr_kd.models import build
from asr_kd.training.jobs import optimiser_fingerprint
from asr_kd.training.optimiser import Joined, make_optimiser
from tests.training.toy import DIMS, SENONES, SMALL_DNN

RATE = 0.01
MUON = OptimiserConfig(algorithm="muon", peak_learning_rate=RATE, weight_decay=0.0)


def test_hidden_matrices_move_along_all_directions_alike() -> None:
    """The update of a hidden matrix is nearly orthogonal and as large as AdamW's; the others' are AdamW's."""
    model = build(SMALL_DNN, DIMS, SENONES, seed=7)
    optimiser = make_optimiser(model, MUON)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model(torch.randn(40, model.left_context + 1 + model.right_context, DIMS)).square().sum().backward()
    optimiser.step()
    changes = {name: (weight - before[name]).detach() for name, weight in model.named_parameters()}

    hidden = [name for name, weight in before.items() if weight.dim() > 1][:-1]
    assert hidden and "layers.output.weight" not in hidden
    for name in hidden:
        directions = torch.linalg.svdvals(changes[name]) / (RATE * 0.2 * max(changes[name].shape) ** 0.5)
        assert 0.5 < float(directions.min()) < float(directions.max()) < 1.5, name
    # AdamW's first step is the rate itself in every weight.
    changed = changes["layers.output.weight"].abs()
    torch.testing.assert_close(changed, torch.full_like(changed, RATE), rtol=0.01, atol=0)
    assert all(bool(changes[name].any()) for name in before if name not in hidden)


def test_a_state_is_taken_up_again(tmp_path: Path) -> None:
    """A copy that takes up the state goes on in the same bytes, and one that does not goes elsewhere."""
    model = build(SMALL_DNN, DIMS, SENONES, seed=7)
    optimiser = make_optimiser(model, MUON)
    assert isinstance(optimiser, Joined)
    _step(model, optimiser, 0)
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "state")

    state = torch.load(tmp_path / "state", weights_only=True)
    ends = []
    for resumed in (True, False):
        copy = build(SMALL_DNN, DIMS, SENONES, seed=8)
        copy.load_state_dict(state["model"])
        other = make_optimiser(copy, MUON)
        if resumed:
            other.load_state_dict(state["optimiser"])
        _step(copy, other, 1)
        ends.append(list(copy.parameters()))
    _step(model, optimiser, 1)
    same, fresh = (
        [torch.equal(one, other) for one, other in zip(model.parameters(), end, strict=True)] for end in ends
    )
    assert all(same) and not any(fresh)


def _step(model: torch.nn.Module, optimiser: Joined, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser.zero_grad()
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)
    optimiser.step()


def test_the_algorithm_decides_the_outcome() -> None:
    """What AdamW trained stays what it was before there was a choice."""
    assert "algorithm" not in optimiser_fingerprint(OptimiserConfig())
    assert optimiser_fingerprint(MUON)["algorithm"] == "muon"


def test_a_model_without_hidden_matrices_has_adamw_alone() -> None:
    optimiser = make_optimiser(torch.nn.Linear(3, 4), MUON)
    assert [len(group["params"]) for group in optimiser.param_groups] == [1, 1]
