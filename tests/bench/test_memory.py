from pathlib import Path

import numpy as np
import pytest

from asr_kd import memory
from asr_kd.bench.memory import measure, table
from asr_kd.bench.simulation import STAGES, TOP_K, Simulation
from asr_kd.distillation.soft_targets import SoftTargets
from asr_kd.features.store import open_part


def test_every_stage_goes_through_a_simulated_corpus(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, hours=0.02, workers=1)
    for simulate in STAGES.values():
        simulate(simulation)
    part = open_part(simulation.features)
    assert len(part.index) == 6
    assert part.index.total_frames == pytest.approx(0.02 * 360_000, rel=0.2)
    assert np.load(tmp_path / ".alignments.npy").all()
    store = SoftTargets.open(simulation.targets)
    assert store.ids.shape == (part.index.total_frames, TOP_K)


def test_a_stage_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    peak = measure("features", Simulation(tmp_path, 0.02, 1), "1 GB")
    assert 20 * memory.MEGABYTE < peak < 1000 * memory.MEGABYTE


def test_the_table_compares_the_largest_corpus_with_the_smallest() -> None:
    peaks = {"training": [400_000_000, 420_000_000], "features": [100_000_000, 100_000_000]}
    assert table([5.0, 100.0], peaks).splitlines() == [
        "| stage | 5 h | 100 h | last to first |",
        "|---|--:|--:|--:|",
        "| training | 400 MB | 420 MB | 1.05 |",
        "| features | 100 MB | 100 MB | 1.00 |",
    ]
