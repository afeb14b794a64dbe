from pathlib import Path

import pytest
import torch
from torch import nn

from asr_kd.compression.magnitude import prune_weights
from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.storage import load_model, save_model

SETTINGS = {"kind": "dnn", "hidden_layers": 2, "hidden_units": 32, "left_context": 1, "right_context": 1}


def matrices(model: nn.Module) -> torch.Tensor:
    return torch.cat([one.weight.detach().flatten() for one in model.modules() if isinstance(one, nn.Linear)])


def test_the_largest_of_all_matrices_together_stay() -> None:
    model = build(SETTINGS, 6, 9, seed=0)
    before = matrices(model)
    prune_weights(model, 0.2)
    after = matrices(model)
    assert int((after != 0).sum()) == round(0.2 * len(before))
    assert before[after != 0].abs().min() > before[after == 0].abs().max()
    torch.testing.assert_close(after[after != 0], before[after != 0])


def test_zeros_stay_zero_in_training() -> None:
    model = build(SETTINGS, 6, 9, seed=0)
    prune_weights(model, 0.3)
    zero = matrices(model) == 0
    before = matrices(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        model(torch.randn(40, 3, 6)).square().mean().backward()
        optimiser.step()
    assert bool((matrices(model)[zero] == 0).all())
    assert bool((matrices(model)[~zero] != before[~zero]).any())


def test_zeros_take_a_bit_on_disk(tmp_path: Path) -> None:
    model = build({**SETTINGS, "hidden_units": 256}, 6, 9, seed=0).eval()
    prune_weights(model, 0.1)
    for name, sparse in (("dense", False), ("sparse", True)):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, model, sparse=sparse)
    frames = torch.randn(1, 8, 6)
    assert torch.equal(load_model(tmp_path / "sparse")(frames), model(frames))
    sizes = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("dense", "sparse")}
    assert sizes["sparse"] < 0.2 * sizes["dense"]


def test_sparse_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = build(SETTINGS, 6, 9, seed=0)
    save_model(tmp_path, model, sparse=True)
    description = tmp_path / "model.json"
    description.write_text(description.read_text().replace('"hidden_units": 32', '"hidden_units": 24'))
    with pytest.raises(AsrKdError, match="does not fit its model"):
        load_model(tmp_path)
