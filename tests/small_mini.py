"""Recipe `mini`, very small, for tests that need a whole run."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from asr_kd.seeding import generator

SMALL = (
    "recipe=mini",
    "data.mini.speakers=8",
    "data.mini.dev_speakers=2",
    "data.mini.test_speakers=2",
    "data.mini.utterances_per_speaker=12",
    "align.gmm.monophone_passes=6",
    "align.gmm.triphone_passes=6",
    "align.gmm.leaves=100",
    "align.gmm.gaussians=300",
    "models.member.hidden_layers=1",
    "models.student.hidden_layers=1",
    "train.members=2",
    "train.optimiser.epochs=2",
    "distill.students.student.optimiser.epochs=2",
    "bench.seconds_of_audio=5",
    "bench.passes=1",
    "workers=1",
    "preflight=false",
)
# Those whose files are the same bytes in every run; reports and measurements hold times.
SAME_BYTES = ("data", "features", "align", "train", "distill", "compress", "decode")


def settings_in(corpora: Path, work: Path) -> list[str]:
    """The settings of a run in `work`."""
    return [*SMALL, f"data.downloads={corpora}", f"work={work}"]


def work_of(settings: Sequence[str]) -> Path:
    """The work folder of `settings_in`."""
    return Path(settings[-1].removeprefix("work="))


def content(work: Path, stages: Sequence[str] = SAME_BYTES) -> dict[str, str]:
    """A hash of every file of every artefact of some stages, and of everything else that lies there."""
    return {
        file.relative_to(work).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for stage in stages
        for file in sorted((work / stage).rglob("*"))
        if file.is_file()
    }


@contextmanager
def damage(file: Path, seed: int) -> Iterator[None]:
    """Inside, one bit of a file is another, drawn by `seed`; an empty file has a byte."""
    whole, times = file.read_bytes(), file.stat()
    random = generator(seed, "damage", file.name)
    damaged = bytearray(whole or b"x")
    damaged[random.integers(len(damaged))] ^= 1 << int(random.integers(8))
    file.write_bytes(damaged)
    try:
        yield
    finally:
        file.write_bytes(whole)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
