from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.distillation.ensemble import average
from asr_kd.distillation.teachers import LoadedTeachers, Teachers
from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model, save_model

DNN = {"kind": "dnn", "hidden_layers": 1, "hidden_units": 6}
TDNN = {"kind": "tdnn", "channels": 5, "kernel_sizes": [3], "dilations": [1], "chunk_frames": 4}
FRAMES = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float16)


def saved(folder: Path, settings: dict, dims: int = 4, senones: int = 7) -> Path:
    folder.mkdir()
    save_model(folder, build(settings, dims, senones, seed=len(folder.name)))
    return folder


def test_members_of_several_architectures_are_averaged(tmp_path: Path) -> None:
    folders = [saved(tmp_path / "dnn", DNN), saved(tmp_path / "tdnn", TDNN)]
    teachers = LoadedTeachers(Teachers.of(folders, 7, "geometric"), "cpu")
    members = [log_posteriors(load_model(folder), FRAMES) for folder in folders]
    torch.testing.assert_close(teachers.mean(FRAMES), average(members, "geometric"))
    assert teachers.parameter_count == sum(load_model(folder).parameter_count for folder in folders)


def test_teachers_score_in_their_precision(tmp_path: Path) -> None:
    folder = saved(tmp_path / "dnn", DNN)
    fast = LoadedTeachers(Teachers.of([folder], 7, "arithmetic", "bf16"), "cpu").mean(FRAMES)
    torch.testing.assert_close(fast, log_posteriors(load_model(folder), FRAMES, precision=torch.bfloat16))
    assert not torch.equal(fast, log_posteriors(load_model(folder), FRAMES))
    with pytest.raises(AsrKdError, match="precision=fp8 is not known"):
        LoadedTeachers(Teachers.of([folder], 7, "arithmetic", "fp8"), "cpu")


def test_weights_are_used(tmp_path: Path) -> None:
    folders = [saved(tmp_path / "dnn", DNN), saved(tmp_path / "tdnn", TDNN)]
    weighted = Teachers(tuple(folders), (None, None), 7, "log-linear", (0.3, 0.9))
    members = [log_posteriors(load_model(folder), FRAMES) for folder in folders]
    torch.testing.assert_close(
        LoadedTeachers(weighted, "cpu").mean(FRAMES), average(members, "log-linear", [0.3, 0.9])
    )


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (None, r"other knows 9 senones, but the labels have 7.*teachers\.<name>\.senones"),
        (np.arange(9), "maps to senones 0 to 8; the recipe has 7"),
        (np.zeros(8, np.int64), "8 rows, but teacher .*other has 9 senones"),
        (np.arange(9) - 1, "maps to senones -1 to 7; the recipe has 7"),
        (np.eye(9)[:, :7], r"map\.npy: row 7 holds no shares that sum to 1"),
        (np.full((9, 7), np.nan), "row 0 holds no shares"),
        (np.tile([3.0, -2.0, 0, 0, 0, 0, 0], (9, 1)), "row 0 holds no shares"),
        (np.zeros((9, 6)), r"give \(own,\) integers or \(own, 7\) shares"),
    ],
)
def test_senones_of_ones_own_need_a_mapping_that_fits(
    tmp_path: Path, mapping: np.ndarray | None, message: str
) -> None:
    folder = saved(tmp_path / "other", DNN, senones=9)
    path = None
    if mapping is not None:
        path = tmp_path / "map.npy"
        np.save(path, mapping)
    with pytest.raises(AsrKdError, match=message):
        LoadedTeachers(Teachers((folder,), (path,), 7, "arithmetic"), "cpu")


def test_a_mapped_teacher_speaks_of_the_recipes_senones(tmp_path: Path) -> None:
    folder = saved(tmp_path / "other", DNN, senones=9)
    np.save(tmp_path / "map.npy", np.array([0, 1, 2, 3, 4, 5, 6, 6, 6]))
    teachers = LoadedTeachers(Teachers((folder,), (tmp_path / "map.npy",), 7, "arithmetic"), "cpu")
    own = log_posteriors(load_model(folder), FRAMES).exp()
    torch.testing.assert_close(teachers.mean(FRAMES).exp()[:, 6], own[:, 6:].sum(1))


def test_a_mapping_that_is_no_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.npy").write_text("no array")
    folder = saved(tmp_path / "other", DNN, senones=9)
    with pytest.raises(AsrKdError, match=r"map\.npy is not an array"):
        LoadedTeachers(Teachers((folder,), (tmp_path / "map.npy",), 7, "arithmetic"), "cpu")


def test_teachers_share_their_features(tmp_path: Path) -> None:
    folders = [saved(tmp_path / "a", DNN), saved(tmp_path / "b", DNN, dims=5)]
    with pytest.raises(AsrKdError, match="b reads 5 features a frame"):
        LoadedTeachers(Teachers.of(folders, 7, "arithmetic"), "cpu")
