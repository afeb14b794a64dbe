from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors, log_posteriors_at
from asr_kd.models.storage import save_model
from asr_kd.specialists.network import specialist_from
from asr_kd.specialists.sets import SpecialistSets, Specialty
from asr_kd.specialists.teacher import LoadedSpecialists
from tests.training.toy import DIMS, SENONES, SMALL_DNN, SMALL_TDNN

CLASSES = (1, 3)


@pytest.mark.parametrize("settings", [SMALL_DNN, SMALL_TDNN])
def test_a_specialist_begins_as_the_generalist(settings: dict[str, object]) -> None:
    generalist = build(settings, DIMS, SENONES, seed=0)
    counts = [3.0, 1.0, 5.0, 1.0, 0.0]
    own = specialist_from(generalist, CLASSES, counts, seed=1)
    assert (own.senones, generalist.senones) == (3, SENONES)
    frames = torch.randn(20, DIMS, generator=torch.Generator().manual_seed(0))
    # Between two senones of the set the odds are the generalist's.
    whole, found = log_posteriors(generalist, frames), log_posteriors(own, frames)
    torch.testing.assert_close(found[:, 0] - found[:, 1], whole[:, 1] - whole[:, 3], atol=1e-5, rtol=1e-4)
    # The dustbin's logit is a lower bound of what the generalist gives to all others.
    rest = whole[:, [0, 2, 4]].logsumexp(1) - whole[:, 1]
    assert (found[:, 2] - found[:, 0] <= rest + 1e-5).all()
    assert (found[:, 2] - found[:, 0] > rest - 3).all()


@pytest.mark.parametrize("settings", [SMALL_DNN, SMALL_TDNN])
def test_posteriors_of_some_frames_are_those_of_the_utterance(settings: dict[str, object]) -> None:
    model = build(settings, DIMS, SENONES, seed=0).eval()
    frames = np.random.default_rng(0).normal(size=(30, DIMS)).astype(np.float16)
    where = torch.tensor([0, 7, 29])
    torch.testing.assert_close(log_posteriors_at(model, frames, where), log_posteriors(model, frames)[where])


def test_loaded_specialists_speak_of_the_frames_that_are_theirs(tmp_path: Path) -> None:
    generalist = build(SMALL_DNN, DIMS, SENONES, seed=0)
    own = specialist_from(generalist, CLASSES, [1.0] * SENONES, seed=1)
    save_model(tmp_path, own)
    Specialty(CLASSES, SENONES, dustbin_shift=0.7).write(tmp_path)
    frames = np.random.default_rng(1).normal(size=(40, DIMS)).astype(np.float16)
    log_p = log_posteriors(generalist, frames)
    loaded = LoadedSpecialists([tmp_path], SENONES, 1, "cpu")
    (opinion,) = loaded.opinions(frames, log_p)
    best = log_p.argmax(1)
    assert opinion.frames.tolist() == [place for place in range(40) if int(best[place]) in CLASSES]
    raw = log_posteriors(own, frames)[opinion.frames]
    torch.testing.assert_close(opinion.log_posteriors, (raw + torch.tensor([0.0, 0.0, 0.7])).log_softmax(1))
    q = loaded.combine(frames, log_p)
    silent = [place for place in range(40) if place not in opinion.frames.tolist()]
    torch.testing.assert_close(q[silent], log_p[silent])
    assert not torch.allclose(q, log_p)
    with pytest.raises(AsrKdError, match="made for 5 senones, its generalist knows 6"):
        LoadedSpecialists([tmp_path], 6, 1, "cpu")


def test_sets_on_disk(tmp_path: Path) -> None:
    sets = SpecialistSets.of([[0, 2], [2, 3]], 5)
    sets.write(tmp_path)
    assert SpecialistSets.read(tmp_path) == sets
    assert sets.covering.tolist() == [1, 0, 2, 1, 0]
    with pytest.raises(AsrKdError, match="run stage train"):
        SpecialistSets.read(tmp_path / "elsewhere")
    with pytest.raises(AsrKdError, match="does not describe a specialist"):
        Specialty.read(tmp_path)
