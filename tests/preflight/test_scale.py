"""A plan grows with the speech and shrinks with the GPUs; what a GPU takes is counted by hand here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from asr_kd import cli
from asr_kd.config import OptimiserConfig
from asr_kd.config.schema import GmmConfig
from asr_kd.costs import Constants
from asr_kd.hmm.speed import GAUSSIAN, count_passes
from asr_kd.models import build
from asr_kd.preflight import gpus, scale
from asr_kd.preflight.calibration import UNMEASURED
from asr_kd.preflight.cluster import Cluster, clusters
from asr_kd.preflight.measure_networks import TAIL, Network, Stored, Training, measure_store
from asr_kd.preflight.measure_speech import FEATURES, SEARCH
from asr_kd.preflight.plan import Need
from asr_kd.preflight.sizes import PartSize, Sizes

FAST = Cluster(8, 8, 4, teraflops=100.0, share=0.5, terabytes=2.0, link=100.0, network=1000.0)
MODEL = {"kind": "dnn", "hidden_layers": 1, "hidden_units": 16, "left_context": 1, "right_context": 1}
NETWORK = Network("frame", MODEL, 4, 30, "cpu", "auto", 1.0)
TRAINING = Training(NETWORK, OptimiserConfig(batch_frames=100), soft=False, top_k=0, rank=0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been measured; nothing is."""
    asked: list[str] = []

    def calibrate(needed: Iterable[Need], work: Path, workers: int) -> Constants:
        for need in needed:
            asked.append(need.measure.__name__)
            assert need.processes <= workers
        units = (*count_passes(GmmConfig(), 1), GAUSSIAN, *UNMEASURED, FEATURES, SEARCH, TAIL)
        return Constants(dict.fromkeys(units, 1e-6), {})

    monkeypatch.setattr(scale, "calibrate", calibrate)
    return asked


def planned(settings: list[str], hours: float, *given: Cluster) -> Sequence[scale.ScalePlan]:
    return scale.plan(cli.load(settings), hours, given).plans


def test_a_frame_takes_its_operations_and_its_bytes() -> None:
    count = build(MODEL, 4, 30).parameter_count
    assert gpus.parameters(NETWORK) == count
    flops, memory = 0.5 * 100e12, 2e12
    alone = 6 * count / flops + (30 * 40 + 40 * count / 100) / memory
    assert gpus.learnt(TRAINING, FAST, 1) == pytest.approx(alone)
    shared = (6 * count / flops + 30 * 40 / memory) / 4 + 40 * count / 100 / memory
    sent = 2 * 3 / 4 * 4 * count / 100
    assert gpus.exchanged(TRAINING, 1) == 0 and gpus.exchanged(TRAINING, 4) == pytest.approx(sent)
    assert gpus.learnt(TRAINING, FAST, 4) == pytest.approx(shared + sent / 100e9)
    assert gpus.scored(NETWORK, FAST) < gpus.learnt(TRAINING, FAST, 1)
    one, ten = (Stored("arithmetic", 20, (2.0,), 30, "after", 0, count, 1.0) for count in (1, 10))
    assert 1 < gpus.stored(ten, FAST) / gpus.stored(one, FAST) < 10


@pytest.mark.parametrize(("average", "teachers"), [("arithmetic", 2), ("log-linear", 2), ("log-linear", 1)])
def test_stores_of_all_averages_are_measured(average: str, teachers: int) -> None:
    found = measure_store(Stored(average, 4, (2.0,), 10, "after", 2, teachers, 0.01))
    assert all(one.seconds > 0 for one in found.values())


def test_only_what_is_learnt_from_grows() -> None:
    part = PartSize(10, 360_000, 3600.0, 500)
    sizes = Sizes({"train": part, "train-fast": part, "dev": part, "test": part}, 5, 40, 100, {"bigram": 10})
    found = scale.scaled(sizes, 20.0, 14_000)
    assert found.senones == 14_000
    assert found.frames("train") == 20 * 360_000 == found.frames("train-fast")
    assert found.frames("dev", "test") == sizes.frames("dev", "test")


def test_cost_follows_the_hours(mini: list[str], measured: list[str]) -> None:
    (once,), (twice,) = planned(mini, 1000.0, FAST), planned(mini, 2000.0, FAST)
    for stage in ("train", "distill"):
        first, second = once.stages[stage], twice.stages[stage]
        assert second.gpu_seconds == pytest.approx(2 * first.gpu_seconds, rel=0.02)
        assert second.exchanged == pytest.approx(2 * first.exchanged, rel=1e-6)
    first, second = once.stages["features"], twice.stages["features"]
    assert second.core_seconds == pytest.approx(2 * first.core_seconds, rel=0.02)
    assert "measure_features" in measured and "measure_training" not in measured


def test_more_gpus_take_less_time_and_members_go_side_by_side_first(
    mini: list[str], measured: list[str]
) -> None:
    one, two, eight = planned(mini, 2000.0, *(replace(FAST, gpus=count) for count in (1, 2, 8)))
    assert one.stages["train"].together == {"members": 1}
    assert two.stages["train"].together == {"members": 1}  # of two
    assert two.stages["train"].exchanged == 0
    assert two.stages["train"].seconds == pytest.approx(one.stages["train"].seconds / 2, rel=0.01)
    assert eight.stages["train"].seconds <= two.stages["train"].seconds
    assert eight.stages["features"].seconds < one.stages["features"].seconds


def test_gpus_train_together_where_links_are_fast(mini: list[str], measured: list[str]) -> None:
    slow, fast = planned(mini, 2000.0, replace(FAST, link=1e-6), replace(FAST, link=1e9))
    assert slow.stages["train"].together == {"members": 1}
    assert fast.stages["train"].together["members"] > 1
    assert fast.stages["train"].exchanged > 0


def test_slow_disks_are_what_a_stage_waits_for(mini: list[str], measured: list[str]) -> None:
    (found,) = planned(mini, 2000.0, replace(FAST, network=1e-6))
    features = found.stages["features"]
    assert features.seconds == pytest.approx(features.traffic / 1000)
    assert features.traffic > features.written > 0


def test_senones_are_those_that_are_planned_with(mini: list[str], measured: list[str]) -> None:
    config = cli.load([*mini, "align.gmm.leaves=14000"])
    outlook = scale.plan(config, 2000.0, [FAST])
    (found,) = outlook.plans
    assert outlook.dense == 2 * 14_000 * outlook.sizes.frames("train") > outlook.stored > 0
    network = build({**config.models["member"]}, config.features.mel_bins, 14_000)
    assert found.stages["train"].written > 4 * network.parameter_count * config.train.members


def test_the_verb_prints_a_table_for_each_number_of_gpus(
    mini: list[str], measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["hours=2000", "gpus=1,16", "gpus_a_machine=4", "teraflops=400", "terabytes=3"]
    assert cli.main(["plan", *mini, *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 GPU in 1 machine" in lines and "16 GPUs in 4 machines" in lines
    assert [line.split()[0] for line in lines[2:9]] == [*scale.STAGES, "together"]
    assert lines[-1].startswith("soft targets of 7")  # 2,000 hours are 720 million frames


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["teraflops=1", "terabytes=1"], r"hours=: give a number above 0"),
        (["hours=1", "terabytes=1"], r"teraflops=: .*make bench-gpu"),
        (["hours=1", "teraflops=many", "terabytes=1"], r"teraflops=many: give a number"),
        (["hours=1", "teraflops=1", "terabytes=1", "gpus=0"], r"gpus=0"),
        (["hours=1", "teraflops=1", "terabytes=1", "train.optimiser.processes=2"], r"optimiser\.processes"),
        (["hours=1", "teraflops=1", "terabytes=1", "work=/nowhere"], r"/nowhere: stage data is not done"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    mini: list[str], given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", *mini, *given]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_clusters_have_a_default_for_all_but_speeds() -> None:
    found = clusters({"teraflops": "400", "terabytes": "3", "gpus": "1,64"})
    assert [one.gpus for one in found] == [1, 64]
    assert [one.machines for one in found] == [1, 8]
