"""Peak memory of the stages that walk a corpus, on simulated corpora of several sizes: `make bench-memory`.

What is measured is private memory of all processes together, see `asr_kd.memory`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from asr_kd import memory
from asr_kd.bench.simulation import SHARES, STAGES, Simulation


def measure(stage: str, simulation: Simulation, budget: str) -> int:
    """The peak private memory of a stage on a corpus, in bytes; in a process of its own.

    Args:
        stage: of `STAGES`.
        simulation: the corpus.
        budget: as `memory_budget`; some stages get only their share of it (`SHARES`).
    """
    own = round(SHARES.get(stage, 1.0) * memory.parse_size(budget, "--budget") / memory.MEGABYTE)
    # Not as a module: workers would load this one too, and all that other stages need.
    command = [sys.executable, "-c", _MEASURE, stage, f"{own} MB", str(simulation.folder)]
    command += [str(simulation.hours), str(simulation.workers)]
    environment = os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return int(done.stdout.splitlines()[-1])


_MEASURE = """
import sys
from pathlib import Path
from asr_kd import memory
from asr_kd.bench.simulation import STAGES, Simulation

stage, budget, folder, hours, workers = sys.argv[1:]
with memory.budgeted(budget), memory.Watch(seconds=0.05) as watch:
    STAGES[stage](Simulation(Path(folder), float(hours), int(workers)))
print(watch.peak)
"""


def compare(hours: Sequence[float], folder: Path, budget: str, workers: int) -> dict[str, list[int]]:
    """The peak private memory of every stage with every size of the corpus, in bytes."""
    peaks: dict[str, list[int]] = {stage: [] for stage in STAGES}
    for size in hours:
        simulation = Simulation(folder / f"{size:g}-hours", size, workers)
        simulation.folder.mkdir(parents=True)
        for stage in STAGES:
            peaks[stage].append(measure(stage, simulation, budget))
        shutil.rmtree(simulation.folder)
    return peaks


def table(hours: Sequence[float], peaks: dict[str, list[int]]) -> str:
    """For people."""
    lines = ["| stage | " + " | ".join(f"{size:g} h" for size in hours) + " | last to first |"]
    lines.append("|---|" + "--:|" * (len(hours) + 1))
    for stage, own in peaks.items():
        cells = [f"{peak / memory.MEGABYTE:.0f} MB" for peak in own]
        lines.append(f"| {stage} | {' | '.join(cells)} | {own[-1] / own[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Peak memory of stages on simulated corpora.")
    parser.add_argument("--hours", type=float, nargs="+", default=[5.0, 100.0])
    parser.add_argument("--folder", type=Path, help="with room for 90 MB an hour; default: a temporary one")
    parser.add_argument("--budget", default="1 GB", help="as memory_budget")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with TemporaryDirectory(dir=given.folder) as folder:
        print(table(given.hours, compare(given.hours, Path(folder), given.budget, given.workers)))


if __name__ == "__main__":
    main()
