import json
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.distillation.losses import top_k_teacher
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings, compress
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex

SETTINGS = TargetSettings("arithmetic", top_k=4, temperatures=(1.0, 2.0, 5.0), senones=30)
INDEX = FrameIndex.from_lengths(["b", "a"], ["s", "s"], [3, 5])


def posteriors(frames: int, senones: int = 30) -> torch.Tensor:
    random = torch.Generator().manual_seed(frames)
    return (3 * torch.randn(frames, senones, generator=random, dtype=torch.float64)).log_softmax(1)


def test_top_k_and_rest_equal_a_sort_in_float64() -> None:
    dense = posteriors(6)
    ids, values, rest = compress(dense, 4, [1.0, 2.0])
    for frame in range(6):
        p = dense[frame].exp().numpy()
        order = np.argsort(-p)
        np.testing.assert_array_equal(ids[frame], order[:4])
        np.testing.assert_allclose(values[frame].exp(), p[order[:4]])
        for column, temperature in enumerate((1.0, 2.0)):
            softened = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
            assert rest[frame, column].exp().item() == pytest.approx(softened[order[4:]].sum())


def test_small_rests_survive() -> None:
    sharp = torch.tensor([[0.0, -30.0, -40.0]]).log_softmax(1)
    _, _, rest = compress(sharp, 1, [1.0])
    assert rest.item() == pytest.approx(-30.0, abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_softened_top_k_of_the_store_is_that_of_the_dense_posterior(
    tmp_path: Path, temperature: float
) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={})
    dense = posteriors(5)
    store.write("a", dense)
    span = INDEX.span("a")
    p, rest = top_k_teacher(
        torch.from_numpy(store.log_probabilities[span].astype(np.float64)),
        torch.from_numpy(store.rest_at(temperature)[span].astype(np.float64)),
        temperature,
    )
    softened = (dense / temperature).softmax(1)
    kept = softened.gather(1, torch.from_numpy(store.ids[span].astype(np.int64)))
    torch.testing.assert_close(p, kept, rtol=4e-3, atol=1e-4)  # float16 on disk
    torch.testing.assert_close(rest, 1 - kept.sum(1), rtol=4e-3, atol=1e-4)
    torch.testing.assert_close(p.sum(1) + rest, torch.ones(5, dtype=torch.float64))


def test_store_is_keyed_by_utterance_and_survives_reopening(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={"features": "x"})
    store.write("a", posteriors(5))
    store.write("b", posteriors(3))
    store.flush()
    again = SoftTargets.open(tmp_path)
    assert again.settings == SETTINGS
    np.testing.assert_array_equal(again.ids[INDEX.span("b")], posteriors(3).topk(4).indices)
    assert SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={}).ids[0, 0] == again.ids[0, 0]
    assert json.loads((tmp_path / "targets.json").read_text())["origin"] == {"features": "x"}


def test_a_frame_takes_at_most_100_bytes(tmp_path: Path) -> None:
    settings = TargetSettings("arithmetic", top_k=20, temperatures=(1.0, 2.0, 4.0), senones=4000)
    store = SoftTargets.create(tmp_path, INDEX, settings, origin={})
    arrays = (store.ids, store.log_probabilities, store.log_rest)
    assert sum(array.nbytes for array in arrays) / INDEX.total_frames <= 100


def test_fewer_senones_than_top_k_are_all_kept(tmp_path: Path) -> None:
    settings = TargetSettings("arithmetic", top_k=20, temperatures=(2.0,), senones=3)
    store = SoftTargets.create(tmp_path, INDEX, settings, origin={})
    store.write("a", posteriors(5, senones=3))
    assert store.ids.shape == (8, 3)
    assert np.isneginf(store.rest_at(2.0)[INDEX.span("a")]).all()


def test_another_temperature_is_refused_by_name(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={})
    with pytest.raises(AsrKdError, match=r"temperatures 1\.0, 2\.0, 5\.0, not 3\.0"):
        store.rest_at(3.0)


def test_posteriors_that_are_not_finite_name_the_utterance(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={})
    with pytest.raises(AsrKdError, match=r"utterance b: .* not finite"):
        store.write("b", torch.full((3, 30), torch.nan))


def test_damaged_stores_are_refused_by_name(tmp_path: Path) -> None:
    SoftTargets.create(tmp_path, INDEX, SETTINGS, origin={})
    np.save(tmp_path / "ids.npy", np.zeros((8, 4), np.int32))
    with pytest.raises(AsrKdError, match=r"ids\.npy is int32"):
        SoftTargets.open(tmp_path)
    np.save(tmp_path / "ids.npy", np.zeros((7, 4), np.uint16))
    with pytest.raises(AsrKdError, match=r"ids\.npy: 7 rows"):
        SoftTargets.open(tmp_path)
    (tmp_path / "ids.npy").unlink()
    with pytest.raises(AsrKdError, match=r"ids\.npy is missing"):
        SoftTargets.open(tmp_path)
    (tmp_path / "targets.json").write_text("{}")
    with pytest.raises(AsrKdError, match="not a soft-target store"):
        SoftTargets.open(tmp_path)


@pytest.mark.parametrize(
    ("top_k", "temperatures", "senones"),
    [(0, (1.0,), 10), (5, (), 10), (5, (0.0,), 10), (5, (1.0,), 70000)],
)
def test_settings_without_sense_are_refused(
    top_k: int, temperatures: tuple[float, ...], senones: int
) -> None:
    with pytest.raises(AsrKdError):
        TargetSettings("arithmetic", top_k, temperatures, senones)
