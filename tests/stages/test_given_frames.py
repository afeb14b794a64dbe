from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import data_prep
from asr_kd.config import Config, DataConfig
from asr_kd.corpus.given_frames import GivenFrames
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.stages import align, data, decode, features
from asr_kd.stages.train import open_labelled, read_senones


def parts_of(frames: int) -> dict[str, GivenFrames]:
    random = np.random.default_rng(frames)
    return {
        name: GivenFrames(
            tuple(f"{name}-{number}" for number in range(frames)),
            (1,) * frames,
            random.random((frames, 9)).astype(np.float16),
            random.integers(3, size=frames).astype(np.int32),
            3,
        )
        for name in ("train", "dev", "test")
    }


@pytest.fixture
def gives(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes corpus `mnist` give so many random frames a part."""

    def give(frames: int) -> None:
        monkeypatch.setattr(data_prep, "find_frames", lambda name: lambda *_: parts_of(frames))

    return give


def test_features_and_labels_are_laid_out_and_later_stages_find_them(
    tmp_path: Path, gives: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(recipe="digits", work=str(tmp_path), data=DataConfig(corpus="mnist"))
    gives(20)
    for stage in (data, features, align):
        stage.run(config, tmp_path)
    given = parts_of(20)["dev"]
    dev = open_labelled(tmp_path, "dev")
    np.testing.assert_array_equal(np.concatenate([dev.features.of(one) for one in given.ids]), given.features)
    np.testing.assert_array_equal(
        np.concatenate([dev.targets["labels"].of(one) for one in given.ids]), given.labels
    )
    assert read_senones(tmp_path) == 3
    capsys.readouterr()
    data.run(config, tmp_path)
    assert "up to date" in capsys.readouterr().out
    gives(10)
    data.run(config, tmp_path)
    assert open_part(tmp_path / "features" / "dev").index.total_frames == 10


def test_there_is_nothing_to_decode(tmp_path: Path) -> None:
    config = Config(recipe="digits", work=str(tmp_path), data=DataConfig(corpus="mnist"))
    with pytest.raises(AsrKdError, match=r"nothing to decode.*stop_stage=distill"):
        decode.run(config, tmp_path)
