import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr_kd import artifacts
from asr_kd.config.schema import DistillConfig
from asr_kd.distillation.losses import spread_teacher, top_k_teacher
from asr_kd.distillation.soft_targets import (
    SoftTargets,
    TargetSettings,
    compress,
    log_probabilities,
    quantise,
)
from asr_kd.distillation.tails import TailShape
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex

SETTINGS = TargetSettings("arithmetic", top_k=4, temperatures=(1.0, 2.0, 5.0), senones=30)
ORIGIN = {"features": "f", "labels": "l", "member-0": "m"}
INDEX = FrameIndex.from_lengths(["b", "a"], ["s", "s"], [3, 5])


def posteriors(frames: int, senones: int = 30, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(frames + 100 * seed)
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


def finished(path: Path, settings: TargetSettings = SETTINGS, members: int = 1) -> SoftTargets:
    """A store as stage distill leaves it."""
    with artifacts.create(path, {"kind": "soft targets"}) as folder:
        shape = TailShape.fit(posteriors(2000, settings.senones), settings.rank) if settings.rank else None
        store = SoftTargets.create(folder, INDEX, settings, ORIGIN, shape)
        for utterance_id, frames in (("a", 5), ("b", 3)):
            store.write(utterance_id, [posteriors(frames, settings.senones, n) for n in range(members)])
        store.flush()
    return SoftTargets.open(path, ORIGIN)


def teacher_of(store: SoftTargets, temperature: float, utterance_id: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, p of them and p of the rest, of one utterance."""
    span, found = store.index.span(utterance_id), store.at(temperature)
    values = log_probabilities(torch.from_numpy(np.array(found.levels[span]))).double()
    rest, ids = (torch.from_numpy(x[span].astype(t)) for x, t in ((found.log_rest, float), (found.ids, int)))
    return ids, *top_k_teacher(values, rest, temperature, found.stored_at)


def test_log_probabilities_are_kept_to_half_a_level() -> None:
    values = torch.linspace(-21, 0, 1000)
    torch.testing.assert_close(log_probabilities(quantise(values)), values, rtol=0, atol=1 / 24 + 1e-5)
    assert log_probabilities(quantise(torch.tensor([-1e4, -30.0]))).tolist() == [-21.25, -21.25]


@pytest.mark.parametrize("tempering", ["after", "before"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_softened_top_k_of_the_store_is_that_of_the_dense_posterior(
    tmp_path: Path, temperature: float, tempering: str
) -> None:
    store = finished(tmp_path / "targets", replace(SETTINGS, tempering=tempering), members=3)
    members = torch.stack([posteriors(5, seed=number) for number in range(3)])
    if tempering == "after":
        softened = (members.exp().mean(0).log() / temperature).softmax(1)
    else:
        softened = (members / temperature).softmax(2).mean(0)
    ids, p, rest = teacher_of(store, temperature, "a")
    kept = softened.gather(1, ids)
    torch.testing.assert_close(p, kept, rtol=1 / 12, atol=1e-4)  # steps of 1/12 nat on disk
    torch.testing.assert_close(rest, 1 - kept.sum(1), rtol=4e-3, atol=1e-4)  # float16
    torch.testing.assert_close(p.sum(1) + rest, torch.ones(5, dtype=torch.float64))


def test_high_temperatures_reach_further_down(tmp_path: Path) -> None:
    # Scores 40 nat apart, as of digits: at T = 20 even the least probable ones matter.
    scores = torch.linspace(0, -40, 10).expand(5, 10).double().log_softmax(1)
    settings = TargetSettings("arithmetic", top_k=10, temperatures=(20.0,), senones=10)
    (tmp_path / "targets").mkdir()
    store = SoftTargets.create(tmp_path / "targets", INDEX, settings, ORIGIN)
    store.write("a", [scores])
    _, p, _ = teacher_of(store, 20.0, "a")
    dense = (scores / 20).softmax(1)
    assert (dense * (dense / p).log()).sum(1).max() < 1e-3


def test_store_is_keyed_by_utterance_and_what_is_laid_out_is_kept(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, ORIGIN)
    store.write("a", [posteriors(5)])
    store.write("b", [posteriors(3)])
    store.flush()
    again = SoftTargets.create(tmp_path, INDEX, SETTINGS, {})
    assert (again.settings, again.origin) == (SETTINGS, ORIGIN)
    np.testing.assert_array_equal(again.ids[INDEX.span("b")], posteriors(3).topk(4).indices)


def spreads(store: SoftTargets, dense: Tensor) -> tuple[Tensor, Tensor]:
    """Dense targets at T = 2 of utterance a, the rest in the shape that the store holds, and evenly."""
    ids, p, rest = teacher_of(store, 2.0, "a")
    assert store.tail_shape is not None
    codes = torch.from_numpy(np.array(store.at(2.0).tail[store.index.span("a")]))
    shape = store.tail_shape.decode(codes, 2.0).double()
    assert shape.shape == dense.shape
    return spread_teacher(ids, p, rest, shape)[0], spread_teacher(ids, p, rest, torch.zeros_like(shape))[0]


def test_shape_of_the_rest_is_kept(tmp_path: Path) -> None:
    # As many dimensions as there are: what is left are the codes' roundings.
    store = finished(tmp_path / "targets", replace(SETTINGS, tail_rank=29), members=3)
    members = torch.stack([posteriors(5, seed=number) for number in range(3)])
    dense = (members.exp().mean(0).log() / 2).softmax(1)
    shaped, even = spreads(store, dense)
    torch.testing.assert_close(shaped, dense, rtol=0.1, atol=1e-4)
    assert (even - dense).abs().max() > 4 * (shaped - dense).abs().max()


def test_softened_before_averaging_the_shape_is_that_of_the_average(tmp_path: Path) -> None:
    # One shape serves all temperatures: that of the average, softened.
    settings = replace(SETTINGS, tail_rank=29, tempering="before")
    store = finished(tmp_path / "targets", settings, members=3)
    members = torch.stack([posteriors(5, seed=number) for number in range(3)])
    dense = (members / 2).softmax(2).mean(0)
    shaped, even = (_divergence(dense, spread) for spread in spreads(store, dense))
    assert 0 < shaped < 0.5 * even


def _divergence(p: Tensor, q: Tensor) -> float:
    return float((p * (p / q).log()).sum(1).mean())


def test_a_frame_takes_at_most_100_bytes(tmp_path: Path) -> None:
    usual = DistillConfig()
    settings = TargetSettings("arithmetic", usual.top_k, (2.0, 4.0), 4000, tail_rank=usual.tail_rank)
    shape = TailShape(torch.zeros(4000), torch.ones(usual.tail_rank, 4000))
    assert SoftTargets.create(tmp_path, INDEX, settings, {}, shape).bytes_a_frame() == 100


def test_fewer_senones_than_top_k_are_all_kept(tmp_path: Path) -> None:
    settings = TargetSettings("arithmetic", top_k=20, temperatures=(2.0,), senones=3, tail_rank=2)
    store = finished(tmp_path / "targets", settings)
    assert store.ids.shape == (8, 3) and store.tail.shape == (8, 0)
    assert np.isneginf(store.at(2.0).log_rest).all()


def test_another_temperature_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"temperatures 1\.0, 2\.0, 5\.0, not 3\.0"):
        finished(tmp_path / "targets").at(3.0)


def test_posteriors_that_are_not_finite_name_the_utterance(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, {})
    with pytest.raises(AsrKdError, match=r"utterance b: .* not finite"):
        store.write("b", [torch.full((3, 30), torch.nan)])


def test_posteriors_that_do_not_sum_to_1_name_utterance_and_teacher(tmp_path: Path) -> None:
    store = SoftTargets.create(tmp_path, INDEX, SETTINGS, {})
    with pytest.raises(AsrKdError, match=r"utterance b: .* teacher 2 of 2 .* do not sum to 1 \(1 to 1\.1\)"):
        heavier = posteriors(3)
        heavier[1] += np.log(1.1)
        store.write("b", [posteriors(3), heavier])


@pytest.mark.parametrize("changed", sorted(ORIGIN))
def test_a_store_made_from_something_else_is_refused_by_name(tmp_path: Path, changed: str) -> None:
    finished(tmp_path / "targets")
    with pytest.raises(AsrKdError, match=rf"targets: .*other inputs than today's \({changed}\)"):
        SoftTargets.open(tmp_path / "targets", {**ORIGIN, changed: "another"})


@pytest.mark.parametrize(
    "name", ["ids.npy", "levels.npy", "log_rest.npy", "tail.npy", "tail_shape.npy", "index.json"]
)
def test_a_flipped_byte_is_refused_by_name(tmp_path: Path, name: str) -> None:
    finished(tmp_path / "targets", replace(SETTINGS, tail_rank=3))
    file = tmp_path / "targets" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(AsrKdError, match=rf"targets/{re.escape(name)} is damaged"):
        SoftTargets.open(tmp_path / "targets")


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    SoftTargets.create(tmp_path, INDEX, SETTINGS, {})
    with pytest.raises(AsrKdError, match="not complete"):
        SoftTargets.open(tmp_path)


def test_files_that_do_not_belong_together_are_refused_by_name(tmp_path: Path) -> None:
    SoftTargets.create(tmp_path, INDEX, SETTINGS, {})
    np.save(tmp_path / "ids.npy", np.zeros((8, 4), np.int32))
    with pytest.raises(AsrKdError, match=r"ids\.npy is int32"):
        SoftTargets.reopen(tmp_path)
    np.save(tmp_path / "ids.npy", np.zeros((7, 4), np.uint16))
    with pytest.raises(AsrKdError, match=r"ids\.npy: 7 rows"):
        SoftTargets.reopen(tmp_path)
    (tmp_path / "ids.npy").unlink()
    with pytest.raises(AsrKdError, match=r"ids\.npy is missing"):
        SoftTargets.reopen(tmp_path)
    (tmp_path / "targets.json").write_text("{}")
    with pytest.raises(AsrKdError, match="not a soft-target store"):
        SoftTargets.reopen(tmp_path)


def test_unknown_tempering_is_refused() -> None:
    with pytest.raises(AsrKdError, match=r"distill\.tempering='never'"):
        replace(SETTINGS, tempering="never")


@pytest.mark.parametrize(
    ("top_k", "temperatures", "senones"),
    [(0, (1.0,), 10), (5, (), 10), (5, (0.0,), 10), (5, (1.0,), 70000)],
)
def test_settings_without_sense_are_refused(
    top_k: int, temperatures: tuple[float, ...], senones: int
) -> None:
    with pytest.raises(AsrKdError):
        TargetSettings("arithmetic", top_k, temperatures, senones)
    with pytest.raises(AsrKdError, match=r"distill\.tail_rank=-1"):
        replace(SETTINGS, tail_rank=-1)
