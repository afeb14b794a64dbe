import json
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_kd import artifacts
from asr_kd.config import OptimiserConfig
from asr_kd.distillation.soft_targets import log_probabilities, quantise
from asr_kd.errors import AsrKdError
from asr_kd.launching.local import LocalLauncher
from asr_kd.models import build
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model, save_model
from asr_kd.specialists.sets import Specialty
from asr_kd.training import objectives, specialists
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import run_missing
from asr_kd.training.loader import Context, Loader, chunk_numbers
from asr_kd.training.loop import Trainer
from asr_kd.training.metrics import evaluate
from asr_kd.training.objectives import SpecialistObjective
from asr_kd.training.processes import ALONE
from asr_kd.training.specialists import (
    SpecialistJob,
    balanced,
    draw_halves,
    dustbin_shift,
    flat_labels,
    relabel,
    train_specialist,
)
from tests.training.toy import DIMS, SENONES, SMALL_DNN, toy_data

CLASSES = (1, 4)
OPTIMISER = OptimiserConfig(epochs=1, batch_frames=32, peak_learning_rate=1e-3)


def open_toy() -> tuple[FrameData, FrameData]:
    return toy_data(utterances=20, failed=1), toy_data(utterances=6, seed=1)


def open_contrary(utterances: int) -> tuple[FrameData, FrameData]:
    """With a dev part that calls the two classes of the set by each other's name."""
    dev = toy_data(utterances=utterances, seed=1)
    labels = dev.targets["labels"]
    other = np.select([labels.array == one for one in CLASSES], CLASSES[::-1], labels.array)
    return open_toy()[0], replace(dev, targets={"labels": replace(labels, array=other.astype(np.int32))})


def die() -> tuple[FrameData, FrameData]:
    """As a process does that is killed for want of memory."""
    os._exit(9)


def run_specialists(jobs: list[SpecialistJob], workers: int) -> None:
    run_missing(jobs, LocalLauncher(workers), "specialists")


def job(folder: Path, number: int, generalist: Path, classes: tuple[int, ...] = CLASSES) -> SpecialistJob:
    name = f"specialist-{number}"
    made_from = {"kind": "specialist", "number": number, "classes": list(classes)}
    return SpecialistJob(
        name,
        folder / name,
        made_from,
        generalist,
        classes,
        SENONES,
        0.0,
        0.5,
        open_toy,
        OPTIMISER,
        number,
        "cpu",
    )


@pytest.fixture
def generalist(tmp_path: Path) -> Path:
    with artifacts.create(tmp_path / "member-0", {"kind": "member"}) as folder:
        save_model(folder, build(SMALL_DNN, DIMS, SENONES, seed=0))
    return tmp_path / "member-0"


def test_labels_of_a_specialist() -> None:
    data = toy_data()
    data.targets["labels"].of(data.utterances[0])[0] = -1
    before = flat_labels(data)
    own, counts = relabel(data, CLASSES, SENONES)
    wanted = [{-1: -1, 1: 0, 4: 1}.get(label, 2) for label in before.tolist()]
    assert flat_labels(own).tolist() == wanted
    assert counts.tolist() == [int((before == senone).sum()) for senone in range(SENONES)]


def test_half_of_the_frames_are_of_the_set() -> None:
    labels = np.random.default_rng(0).choice([-1, 0, 1, 2], size=2000, p=[0.1, 0.1, 0.1, 0.7])
    drawn = draw_halves(labels, 2, 1.0, None, 5, 0)
    assert (labels[drawn] == 2).sum() == ((labels >= 0) & (labels < 2)).sum() == drawn.sum() / 2
    smaller = draw_halves(labels, 2, 0.1, None, 5, 0)
    assert smaller.sum() == 2 * int(0.1 * (labels >= 0).sum() / 2) and not (labels[smaller] < 0).any()
    assert (smaller != draw_halves(labels, 2, 0.1, None, 5, 1)).any()
    assert (smaller == draw_halves(labels, 2, 0.1, None, 5, 0)).all()
    mostly = np.where(labels == 2, 0, 2)  # a set of most frames: the rest is what is scarce
    assert (mostly[draw_halves(mostly, 2, 1.0, None, 0, 0)] == 2).sum() == (mostly == 2).sum()


@pytest.mark.parametrize("context", [Context(2, 1, 1), Context(2, 2, 8)])
@pytest.mark.parametrize("frames_held", [10**6, 60])
def test_an_epoch_learns_from_the_drawn_frames_alone(context: Context, frames_held: int) -> None:
    data = toy_data(utterances=30)
    data.features.array[:, 0] = np.arange(data.features.index.total_frames)  # names the frame
    labels = flat_labels(data)
    halves = replace(data, draw=partial(draw_halves, np.where(labels == 0, 0, 1), 1, 1.0, None))
    loader = Loader(
        halves, context, 16, frames_held * data.bytes_a_frame(), 1, torch.float16, torch.device("cpu")
    )
    batches = list(loader.epoch(0))
    assert len(batches) == loader.batches(0)
    seen: list[int] = []
    for batch in batches:
        middle = batch.inputs[:, context.left : context.left + context.chunk_frames, 0].flatten()
        counted = middle if batch.counted is None else middle[batch.counted]
        assert len(counted) == len(batch.targets["labels"])
        assert (labels[counted.long().numpy()] == batch.targets["labels"].numpy()).all()
        seen += counted.long().tolist()
    drawn = np.flatnonzero(halves.draw(1, 0)).tolist() if halves.draw else []
    assert len(set(seen)) == len(seen) and set(seen) <= set(drawn)
    if frames_held > 1000:
        assert len(drawn) - len(seen) < 16 * context.chunk_frames


def test_the_shift_of_the_dustbin_undoes_the_oversampling() -> None:
    """A network trained on halves that knows nothing of a frame says 1/2; in speech the set is a fifth."""
    halves = torch.tensor([0.5, 0.5]).log() + torch.tensor([0.0, dustbin_shift(200, 800)])
    assert halves.softmax(0).tolist() == pytest.approx([0.2, 0.8])
    assert dustbin_shift(800, 200) == pytest.approx(math.log(1 / 4))


@pytest.mark.parametrize("soft_rest", [0.0, 0.5, 4.0])
@pytest.mark.parametrize("true", [0.02, 0.3])
def test_what_training_asks_for_is_unbiased_at_use(soft_rest: float, true: float) -> None:
    """Some frames look alike, their senone is the set's in a share `true`, and the generalist knows that."""
    shift = dustbin_shift(100, 1900)
    # Of such frames halves see: of the set 1/2 : 1/20 as often as there are, of the rest 1/2 : 19/20.
    weights = (true * 10, (1 - true) * 10 / 19)
    own = round(100_000 * weights[0] / sum(weights))
    labels = torch.tensor([0] * own + [1] * (100_000 - own))
    targets = {"labels": labels, "ids": torch.tensor([[1, 0]]).expand(100_000, 2)}
    known = torch.tensor([true, 1 - true]).log()
    targets["log_rest"] = torch.full((100_000,), -20.0)
    objective = SpecialistObjective((1,), 2, soft_rest, dustbin_shift=shift)
    with pytest.MonkeyPatch.context() as patch:  # levels are coarse
        patch.setattr(objectives, "log_probabilities", lambda levels: known.expand(100_000, 2))
        targets["levels"] = targets["ids"]
        logits = torch.zeros(2, requires_grad=True)
        optimiser = torch.optim.LBFGS([logits], max_iter=50, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            value = objective(logits.expand(100_000, 2), targets)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = (logits.detach() + torch.tensor([0.0, shift])).softmax(0)[0]
    assert float(found) == pytest.approx(true, rel=2e-3)


def test_halves_are_drawn_in_no_more_than_their_share_of_chunks() -> None:
    chunks = chunk_numbers(np.array([70, 5, 64]), 32)
    assert np.bincount(chunks).tolist() == [32, 32, 6, 5, 32, 32]
    labels = np.full(139, 1)
    labels[[3, 40, 41, 80]] = 0
    drawn = draw_halves(labels, 1, 1.0, chunks, 0, 0)
    assert (labels[drawn] == 0).sum() == (labels[drawn] == 1).sum() == 4  # the set is in three chunks of six
    for epoch in range(20):
        some = draw_halves(labels, 1, 0.34, chunks, 0, epoch)
        assert len(set(chunks[some].tolist())) <= 2
        assert (labels[some] == 0).sum() == (labels[some] == 1).sum() > 0


def test_the_rest_is_not_drawn_near_the_set() -> None:
    """Its odds at use are those of all frames of the rest: of every second chunk here."""
    chunks = chunk_numbers(np.array([6400]), 32)
    labels = np.full(6400, 1)
    labels[(chunks % 2 == 0) & (np.arange(6400) % 32 < 4)] = 0
    rest_near = ((chunks % 2 == 0) & (labels == 1)).sum() / (labels == 1).sum()
    near = [
        (chunks[draw_halves(labels, 1, 0.3, chunks, 0, epoch) & (labels == 1)] % 2 == 0).mean()
        for epoch in range(50)
    ]
    assert np.mean(near) == pytest.approx(rest_near, abs=0.03)


def test_chunks_of_the_set_alone_do_not_crowd_out_the_rest() -> None:
    chunks = chunk_numbers(np.array([32 * 12]), 32)
    labels = np.where(chunks < 10, 0, 1)
    drawn = draw_halves(labels, 1, 0.2, chunks, 0, 0)
    assert (labels[drawn] == 0).sum() == (labels[drawn] == 1).sum() == 32


def test_dev_is_balanced_as_training_is() -> None:
    own = balanced(relabel(toy_data(), CLASSES, SENONES)[0], 2, 0)
    labels = flat_labels(own)
    assert (labels == 2).sum() == ((labels == 0) | (labels == 1)).sum() > 0


def test_soft_targets_pull_on_the_frames_of_the_rest_alone() -> None:
    objective, hard = SpecialistObjective(CLASSES, SENONES, 0.5), SpecialistObjective(CLASSES, SENONES)
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 0], [0, 4], [2, 3]])
    known = torch.tensor([[0.6, 0.3], [0.5, 0.2], [0.9, 0.05]])
    log_rest = (1 - known.sum(1)).log()
    # Of the set and of all others, what the top k leaves out included.
    grouped = objective.grouped(ids, known.log(), log_rest).exp()
    wanted = torch.tensor([[0.6, 0.0, 0.4], [0.0, 0.2, 0.8], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(grouped, wanted, atol=1e-6, rtol=0)
    # Their odds where set and rest are equally frequent, while speech has three frames of the rest for one.
    rare = replace(objective, dustbin_shift=math.log(3)).grouped(ids, known.log(), log_rest).exp()
    whole = 0.6 + 0.4 / 3
    assert rare[0].tolist() == pytest.approx([0.6 / whole, 0.0, 0.4 / 3 / whole], abs=1e-6)
    targets = {
        "labels": torch.tensor([0, 2, 2]),
        "ids": ids,
        "levels": quantise(known.log()),
        "log_rest": log_rest,
    }
    grouped = objective.grouped(ids, log_probabilities(targets["levels"]), log_rest).exp()
    p, log_q = grouped[1:], logits[1:].log_softmax(1)
    divergence = (p * (p.log() - log_q)).sum(1).mean()
    expected = hard(logits, targets) + 0.5 * (2 / 3) * divergence
    torch.testing.assert_close(objective(logits, targets), expected, atol=1e-5, rtol=1e-5)


def test_one_that_fails_leaves_the_others_alone_and_is_trained_alone(
    tmp_path: Path, generalist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        job(tmp_path, 0, generalist),
        job(tmp_path, 1, tmp_path / "nowhere"),
        job(tmp_path, 2, generalist),
    ]
    with pytest.raises(AsrKdError, match=r"1 of 3 specialists failed.*specialist-1: .*nowhere"):
        run_specialists(jobs, 2)
    assert [(tmp_path / f"specialist-{number}" / "manifest.json").is_file() for number in range(3)] == [
        True,
        False,
        True,
    ]
    specialty = Specialty.read(tmp_path / "specialist-0")
    assert specialty.classes == CLASSES and load_model(tmp_path / "specialist-0").senones == 3
    labels = flat_labels(open_toy()[0])
    own, all_of_them = int(np.isin(labels, CLASSES).sum()), int((labels >= 0).sum())
    assert specialty.dustbin_shift == pytest.approx(math.log((all_of_them - own) / own))
    before = artifacts.Artifact(tmp_path / "specialist-0").digest
    jobs[1] = replace(jobs[1], generalist=generalist)
    capsys.readouterr()
    run_specialists(jobs, 1)
    said = capsys.readouterr().out
    assert "specialist-0: up to date" in said and "specialist-2: up to date" in said
    assert (tmp_path / "specialist-1" / "manifest.json").is_file()
    assert artifacts.Artifact(tmp_path / "specialist-0").digest == before


@pytest.mark.parametrize("enough", [False, True])
def test_an_epoch_is_not_chosen_by_a_handful_of_frames(
    tmp_path: Path, generalist: Path, capsys: pytest.CaptureFixture[str], enough: bool
) -> None:
    opened = partial(open_contrary, 60 if enough else 6)
    one = replace(
        job(tmp_path, 0, generalist),
        open_data=opened,
        optimiser=replace(OPTIMISER, epochs=4, peak_learning_rate=0.05),
    )
    train_specialist(one, ALONE)
    assert ("too few to choose an epoch" in capsys.readouterr().out) is not enough
    log = (one.path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line)["dev_cross_entropy"] for line in log]
    assert min(found) < found[-1]
    dev = balanced(relabel(opened()[1], CLASSES, SENONES)[0], len(CLASSES), one.seed)
    kept = evaluate(partial(log_posteriors, load_model(one.path)), dev).cross_entropy
    assert kept == pytest.approx(min(found) if enough else found[-1], rel=0.01)  # bf16


def test_training_asks_for_the_odds_that_use_takes_back(
    tmp_path: Path, generalist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SpecialistObjective] = []

    def trainer(model: Any, objective: SpecialistObjective, *others: Any, **named: Any) -> Trainer:
        asked.append(objective)
        return Trainer(model, objective, *others, **named)

    monkeypatch.setattr(specialists, "Trainer", trainer)
    train_specialist(job(tmp_path, 0, generalist), ALONE)
    (objective,) = asked
    assert objective.dustbin_shift == Specialty.read(tmp_path / "specialist-0").dustbin_shift != 0.0


def test_a_process_that_dies_leaves_the_others_alone(tmp_path: Path, generalist: Path) -> None:
    jobs = [replace(job(tmp_path, 0, generalist), open_data=die), job(tmp_path, 1, generalist)]
    with pytest.raises(AsrKdError, match=r"1 of 2 specialists failed.*specialist-0: .*process died"):
        run_specialists(jobs, 1)
    assert (tmp_path / "specialist-1" / "manifest.json").is_file()
