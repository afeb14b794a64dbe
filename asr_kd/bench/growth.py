"""How cost grows with the corpus: `make bench-growth`.

A corpus whose training part is repeated goes through the stages of recipe `kaldi_dir` at every size; what
they took stands beside what the preflight estimate said before. Repeated speech is as good as more speech for
this: every stage reads and computes all of it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr_kd import history
from asr_kd.corpus.kaldi import read_data_dir, write_data_dir

PARTS = ("train", "dev", "test")
STAGES = ("features", "align", "train", "distill")


@dataclass(frozen=True)
class Taken:
    """What a stage took, and what was estimated: seconds, and bytes on disk."""

    seconds: float
    estimated_seconds: float
    written: int


def repeat_corpus(source: Path, to: Path, times: int) -> None:
    """Copy Kaldi data directories ``train``, ``dev`` and ``test``, the first repeated by other speakers.

    Args:
        source: their folder.
        to: folder of the new ones; audio stays where it is.
        times: that the utterances of ``train`` are there.
    """
    for part in PARTS:
        utterances = read_data_dir(source / part)
        copies = range(times if part == "train" else 1)
        every = [
            replace(one, id=f"{copy}-{one.id}", speaker=f"{copy}-{one.speaker}")
            for copy in copies
            for one in utterances
        ]
        write_data_dir(every, to / part)


def run(source: Path, lexicon: Path, work: Path, settings: Sequence[str]) -> dict[str, Taken]:
    """The stages of recipe `kaldi_dir` on a corpus, by name.

    Raises:
        subprocess.CalledProcessError: a stage failed, and has said why.
    """
    own = [f"data.source={source}", f"data.lexicon={lexicon}", "data.parts.dev=dev", f"work={work}"]
    command = [sys.executable, "-m", "asr_kd", "run", "recipe=kaldi_dir", *own, "stop_stage=distill"]
    subprocess.run([*command, *settings], check=True)
    estimated = json.loads((work / "preflight.json").read_text(encoding="utf-8"))["stages"]
    return {
        one.stage: Taken(
            one.seconds,
            estimated[one.stage]["seconds"],
            sum(file.stat().st_size for file in (work / one.stage).rglob("*") if file.is_file()),
        )
        for one in history.read(work)
        if one.stage in STAGES
    }


def table(found: Mapping[int, Mapping[str, Taken]]) -> str:
    """For people: seconds (and estimated) and bytes at every size, and the last over the first."""
    sizes = sorted(found)
    first, last = sizes[0], sizes[-1]
    heads = [f"{size} x" for size in sizes] + [f"time, {last} x to {first} x", f"disk, {last} x to {first} x"]
    lines = ["| stage | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for stage in STAGES:
        own = {size: found[size][stage] for size in sizes}
        cells = [f"{one.seconds:.1f} s ({one.estimated_seconds:.1f} s)" for one in own.values()]
        cells.append(f"{own[last].seconds / own[first].seconds:.2f}")
        cells.append(f"{own[last].written / own[first].written:.2f}")
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description="How the cost of stages grows with the corpus.")
    parser.add_argument("--data", type=Path, required=True, help="folder of asr-kd export-data")
    parser.add_argument("--lexicon", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="new folder; a run goes on where it ended")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("settings", nargs="*", help="of the recipe, e.g. train.members=2")
    given = parser.parse_args()
    found = {}
    for times in given.times:
        folder = given.work / f"{times}-times"
        repeat_corpus(given.data, folder / "data", times)
        lexicon = given.lexicon.resolve()
        found[times] = run((folder / "data").resolve(), lexicon, folder / "exp", given.settings)
    print(table(found))


if __name__ == "__main__":
    main()
