import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr_kd import artifacts
from asr_kd.compression.fine_tuning import CompressionJob, share_after
from asr_kd.config import OptimiserConfig, PruneConfig
from asr_kd.errors import AsrKdError
from asr_kd.models import build
from asr_kd.models.storage import load_model, save_model
from asr_kd.training.checkpoint import load_checkpoint
from tests.training.test_loop import KilledError, KillingObjective
from tests.training.toy import DIMS, SENONES, SMALL_DNN, toy_data

OPTIMISER = OptimiserConfig(
    epochs=2, batch_frames=32, peak_learning_rate=1e-2, checkpoint_seconds=0.0, precision="fp32"
)
NEVER = 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with artifacts.create(tmp_path / "student", {"kind": "student"}) as folder:
        save_model(
            folder, build({**SMALL_DNN, "hidden_layers": 2, "hidden_units": 64}, DIMS, SENONES, seed=7)
        )
    return tmp_path / "student"


def job_of(source: Path, folder: str, settings: PruneConfig, killed_at: int = NEVER) -> CompressionJob:
    return CompressionJob(
        name="thin",  # in the title of the curve: of one job whatever its folder
        path=source.with_name(folder),
        made_from={"kind": "pruned network"},
        source=source,
        settings=settings,
        objective=KillingObjective(killed_at),
        open_data=lambda: (toy_data(utterances=16), toy_data(utterances=4, seed=1)),
        seed=5,
        device="cpu",
    )


@pytest.mark.parametrize("method", ["structured", "low_rank", "magnitude"])
def test_a_job_killed_in_its_last_epoch_ends_in_the_same_bytes(source: Path, method: str) -> None:
    settings = PruneConfig(method=method, keep=0.5, rounds=2, optimiser=OPTIMISER)
    whole = job_of(source, "whole", settings)
    whole.run()
    assert isinstance(whole.objective, KillingObjective)
    killed = job_of(source, "killed", settings, killed_at=whole.objective.calls - 1)
    with pytest.raises(KilledError):
        killed.run()
    checkpoint = load_checkpoint(source.with_name(".killed.partial") / ".round-2" / ".checkpoint.pt")
    assert checkpoint is not None and checkpoint["progress"]["epoch"] == 1
    again = job_of(source, "killed", settings)
    again.run()
    assert isinstance(again.objective, KillingObjective)
    assert again.objective.calls < whole.objective.calls / 2
    assert artifacts.Artifact(killed.path).digest == artifacts.Artifact(whole.path).digest
    assert 0.4 < share_left(whole.path, method) <= 0.55


def share_left(path: Path, method: str) -> float:
    """Of multiply-adds, or of weights that are not zero."""
    if method == "magnitude":
        weights = [weight for weight in load_model(path).parameters() if weight.dim() > 1]
        return sum(int(weight.count_nonzero()) for weight in weights) / sum(map(torch.numel, weights))
    summary = json.loads((path / "compression.json").read_text())
    return float(summary["multiply_adds"] / summary["multiply_adds_before"])


@pytest.mark.parametrize("method", ["structured", "low_rank"])
def test_a_share_that_cannot_be_reached_is_refused_with_the_least_that_can(source: Path, method: str) -> None:
    settings = PruneConfig(method=method, keep=0.01, rounds=1, optimiser=replace(OPTIMISER, epochs=1))
    with pytest.raises(AsrKdError, match=r"compress.pruned.thin.keep=0.01: .* at least 0.\d+ of") as refused:
        job_of(source, "thin", settings, killed_at=1).run()
    least = float(re.findall(r"at least (0.\d+)", str(refused.value))[0])
    job_of(source, "thin", replace(settings, keep=least)).run()
    assert least - 0.001 <= share_left(source.with_name("thin"), method) <= least


def test_what_is_left_falls_as_a_cubic() -> None:
    settings = PruneConfig(keep=0.2, rounds=4)
    wanted = [0.2 + 0.8 * 27 / 64, 0.2 + 0.8 / 8, 0.2 + 0.8 / 64, 0.2]
    assert [share_after(number, settings) for number in (1, 2, 3, 4)] == pytest.approx(wanted)


def test_the_last_epoch_is_kept_where_nothing_stops_early(source: Path) -> None:
    # A rate that stays far too high: later epochs are worse than the best one.
    wild = replace(OPTIMISER, epochs=4, peak_learning_rate=1.0, final_learning_rate=1.0)
    settings = PruneConfig(method="magnitude", keep=0.9, rounds=1, optimiser=wild)
    digests = []
    for early in (True, False):
        job = replace(job_of(source, f"early-{early}", settings), early_stopping=early)
        job.run()
        digests.append(artifacts.Artifact(job.path).sha256("model.safetensors"))
    assert digests[0] != digests[1]
