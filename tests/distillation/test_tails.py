import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr_kd.distillation.tails import SHAPE_FILE, TailShape
from asr_kd.errors import AsrKdError

SENONES = 30


def scores(frames: int, dimensions: int, seed: int = 0) -> Tensor:
    """Log posteriors that lie in a plane, as those of a network with a thin last layer do."""
    random = np.random.default_rng(0)
    plane, mean = random.normal(size=(dimensions, SENONES)), random.normal(size=SENONES)
    places = np.random.default_rng(seed).normal(size=(frames, dimensions))
    return torch.from_numpy(mean + places @ plane).log_softmax(1)


def centred(log_posteriors: Tensor) -> Tensor:
    return log_posteriors - log_posteriors.mean(1, keepdim=True)


def test_what_lies_in_the_plane_is_kept_to_the_rounding_of_the_codes() -> None:
    shape = TailShape.fit(scores(5000, 4), 4)  # so many that the others lie within
    others = scores(50, 4, seed=1)
    found = shape.decode(shape.encode(others))
    half_steps = shape.directions.abs().sum(0).max().item() / 2
    torch.testing.assert_close(found, centred(others).float(), rtol=0, atol=half_steps + 1e-5)
    assert half_steps < 0.1


@pytest.mark.parametrize("frames", [200, 20])  # more than senones, and fewer
def test_plane_is_that_of_a_singular_value_decomposition(frames: int) -> None:
    sample = scores(frames, 8).exp().add(0.01).log()
    rows = centred(sample).numpy()
    found = TailShape.fit(sample, 3)
    _, _, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    along = found.directions.double().numpy() @ directions.T
    np.testing.assert_allclose(
        np.abs(along[:, :3]), np.diag(np.linalg.norm(found.directions, axis=1)), atol=1e-5
    )
    np.testing.assert_allclose(found.mean, rows.mean(0), atol=1e-6)
    # The largest of the sample has the largest code.
    assert found.encode(sample).abs().amax(0).tolist() == [127] * 3


def test_a_plane_has_the_dimensions_that_were_asked_for_however_few_frames_there_are() -> None:
    shape = TailShape.fit(scores(3, 4), 5)
    assert shape.rank == 5
    assert shape.decode(shape.encode(scores(3, 4))).isfinite().all()


def test_signs_are_fixed_and_what_lies_far_out_is_clipped() -> None:
    shape = TailShape.fit(scores(200, 4), 4)
    assert (shape.directions.gather(1, shape.directions.abs().argmax(1, keepdim=True)) > 0).all()
    far = shape.mean + 1000 * shape.directions[0]
    assert shape.encode(far[None]).tolist() == [[127, 0, 0, 0]]


def test_files_are_read_back_and_checked(tmp_path: Path) -> None:
    shape = TailShape.fit(scores(50, 4), 2)
    shape.save(tmp_path)
    again = TailShape.load(tmp_path, 2, SENONES)
    assert torch.equal(again.mean, shape.mean) and torch.equal(again.directions, shape.directions)
    with pytest.raises(AsrKdError, match=re.escape(f"{SHAPE_FILE} is float32 (3, 30), not float32 (4, 30)")):
        TailShape.load(tmp_path, 3, SENONES)
    with pytest.raises(AsrKdError, match="cannot be read"):
        TailShape.load(tmp_path / "nowhere", 2, SENONES)
