from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.distillation import scoring
from asr_kd.distillation.ensemble import average
from asr_kd.distillation.scoring import Piece, frames_together, grouped, score_teachers
from asr_kd.distillation.soft_targets import SoftTargets, TargetSettings, log_probabilities
from asr_kd.distillation.teachers import Teachers
from asr_kd.frames import FrameIndex
from asr_kd.models import build
from asr_kd.models.inference import BATCH_FRAMES, log_posteriors
from asr_kd.models.storage import load_model, save_model

SETTINGS = TargetSettings("arithmetic", top_k=3, temperatures=(2.0,), senones=7)


@pytest.fixture
def teachers(tmp_path: Path) -> list[Path]:
    folders = []
    for number in range(2):
        folder = tmp_path / f"member-{number}"
        folder.mkdir()
        save_model(folder, build({"kind": "dnn", "hidden_layers": 1, "hidden_units": 6}, 4, 7, seed=number))
        folders.append(folder)
    return folders


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score utterances together, in this process."""
    monkeypatch.setattr(scoring, "frames_together", lambda *_: 30)
    monkeypatch.setattr(scoring, "map_processes", lambda function, items, *_, **__: map(function, items))


def score(work: Path, index: FrameIndex, teachers: list[Path], workers: int) -> None:
    """Score ``fbank.npy`` into store ``targets``, both in `work`."""
    ensemble = Teachers.of(teachers, 7, "arithmetic")
    score_teachers(work / "targets", work / "fbank.npy", index, ensemble, "cpu", workers)


def test_store_holds_the_average_of_all_teachers(tmp_path: Path, teachers: list[Path]) -> None:
    index = FrameIndex.from_lengths(["a", "b", "c"], ["s"] * 3, [4, 1, 9])
    features = np.random.default_rng(0).normal(size=(14, 4)).astype(np.float16)
    np.save(tmp_path / "fbank.npy", features)
    (tmp_path / "targets").mkdir()
    SoftTargets.create(tmp_path / "targets", index, SETTINGS, origin={})
    score(tmp_path, index, teachers, workers=2)
    store = SoftTargets.reopen(tmp_path / "targets")
    models = [load_model(folder) for folder in teachers]
    for _, span in index.spans():
        mean = average([log_posteriors(model, features[span]) for model in models]).topk(3)
        at = SETTINGS.stored_at[0]
        np.testing.assert_array_equal(store.ids[span], mean.indices)
        found = log_probabilities(torch.from_numpy(np.array(store.levels[span])))
        torch.testing.assert_close(found, mean.values / at, rtol=0, atol=1 / 24 + 1e-5)


@pytest.mark.parametrize("mapped", [False, True])
def test_utterances_are_scored_together_on_gpus(
    tmp_path: Path, teachers: list[Path], mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [4, 1, 40, 9, 20, 2]
    index = FrameIndex.from_lengths([str(number) for number in range(6)], ["s"] * 6, lengths)
    np.save(tmp_path / "fbank.npy", np.random.default_rng(0).normal(size=(76, 4)).astype(np.float16))
    np.save(tmp_path / "mapping.npy", np.arange(7)[::-1])
    ensemble = Teachers.of(teachers, 7, "arithmetic")
    if mapped:
        ensemble = replace(ensemble, mappings=(None, tmp_path / "mapping.npy"))
    stores = []
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
        SoftTargets.create(tmp_path / name, index, SETTINGS, origin={})
        score_teachers(tmp_path / name, tmp_path / "fbank.npy", index, ensemble, "cpu", workers=1)
        stores.append(SoftTargets.reopen(tmp_path / name))
        as_on_a_gpu(monkeypatch)
    alone, together = stores
    assert alone.levels.any()
    np.testing.assert_array_equal(alone.ids, together.ids)
    assert (np.abs(alone.levels.astype(int) - together.levels) <= 1).all()  # of rounding


def test_groups_are_as_large_as_they_may_be() -> None:
    pieces = [Piece("", 0, np.zeros(length), slice(None)) for length in (3, 4, 3, 20, 1, 9)]
    found = [[len(piece.frames) for piece in group] for group in grouped(pieces, 10)]
    assert found == [[3, 4, 3], [20], [1, 9]]
    assert [len(group) for group in grouped(pieces, 0)] == [1] * 6


def test_passes_on_gpus_are_limited_by_frames_and_by_scores() -> None:
    few = Teachers.of([Path()] * 5, 400, "arithmetic")
    assert frames_together(few, "cpu") == 0
    assert frames_together(few, "cuda:1") == 8192
    many = Teachers.of([Path()] * 10, 14_000, "arithmetic")
    assert frames_together(many, "cuda") == 500_000_000 // 140_000


def test_finished_shards_are_not_scored_again(tmp_path: Path, teachers: list[Path]) -> None:
    index = FrameIndex.from_lengths(["a"], ["s"], [4])
    np.save(tmp_path / "fbank.npy", np.zeros((4, 4), np.float16))
    (tmp_path / "targets").mkdir()
    SoftTargets.create(tmp_path / "targets", index, SETTINGS, origin={})
    (tmp_path / "targets" / ".scored-0-1").touch()
    score(tmp_path, index, teachers, workers=1)
    assert (SoftTargets.reopen(tmp_path / "targets").levels == 0).all()


def test_a_long_utterance_is_scored_in_pieces(tmp_path: Path, teachers: list[Path]) -> None:
    index = FrameIndex.from_lengths(["short", "long"], ["s"] * 2, [20, 2 * BATCH_FRAMES + 5])
    features = np.random.default_rng(0).normal(size=(index.total_frames, 4)).astype(np.float16)
    np.save(tmp_path / "fbank.npy", features)
    (tmp_path / "targets").mkdir()
    SoftTargets.create(tmp_path / "targets", index, SETTINGS, origin={})
    score(tmp_path, index, teachers, workers=1)
    store = SoftTargets.reopen(tmp_path / "targets")
    span = index.span("long")
    members = [log_posteriors(load_model(folder), features[span]) for folder in teachers]
    _, wanted = average(members).topk(3)
    assert (store.ids[span].astype(int) == wanted.numpy()).mean() > 0.999
