"""An estimate for people, on disk, and beside what then happened."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asr_kd import history
from asr_kd.artifacts import replace_file
from asr_kd.errors import AsrKdError
from asr_kd.history import StageRun
from asr_kd.memory import MEGABYTE, in_words
from asr_kd.progress import clock

ESTIMATE_FILE = "preflight.json"


@dataclass(frozen=True)
class StageEstimate:
    """What a stage will take.

    Attributes:
        seconds: of time.
        written: bytes that stay on the disk.
        process_bytes: private memory of its largest process.
        all_bytes: of all its processes together.
        steps: seconds, by what is done.
        files: bytes of every artefact, by its path in the work folder.
    """

    seconds: float
    written: int
    process_bytes: int
    all_bytes: int
    steps: Mapping[str, float]
    files: Mapping[str, int]


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        stages: by name; those that are up to date are left out.
        peak_disk: bytes that the disk has to hold beside what is there.
        guessed: whether searches are estimated without their graph.
    """

    stages: Mapping[str, StageEstimate]
    peak_disk: int
    guessed: bool


def render(estimate: Estimate) -> str:
    """As a table."""
    stages = estimate.stages.values()
    whole = StageEstimate(
        sum(one.seconds for one in stages),
        sum(one.written for one in stages),
        max((one.process_bytes for one in stages), default=0),
        max((one.all_bytes for one in stages), default=0),
        {},
        {},
    )
    rows = [
        [name, clock(one.seconds), *map(in_words, (one.written, one.process_bytes, one.all_bytes))]
        for name, one in [*estimate.stages.items(), ("together", whole)]
    ]
    lines = columns([["stage", "time", "disk", "largest process", "all processes"], *rows])
    if estimate.guessed:
        lines.append("decode, bench: there is no graph yet; their searches may take half or twice as long")
    return "\n".join(["preflight: what is to be made will take about", *lines])


def write(work: Path, estimate: Estimate) -> None:
    """Keep an estimate beside what will be made."""
    content = {"estimated": datetime.now(UTC).isoformat(), **asdict(estimate)}
    with replace_file(work / ESTIMATE_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def outcome(work: Path) -> str | None:
    """The last estimate beside what was measured since; None where there is no estimate, or no stage since.

    Raises:
        AsrKdError: what is kept of it is damaged.
    """
    path = work / ESTIMATE_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        measured = _measured(work, datetime.fromisoformat(content["estimated"]))
        rows = [
            _compared(work, name, StageEstimate(**one), measured[name])
            for name, one in content["stages"].items()
            if name in measured
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AsrKdError(f"{path} is damaged ({error!r}); delete it") from error
    heads = ["stage", "time", "was", "", "disk", "is", "", "all processes", "were", ""]
    lines = columns([heads, *rows])
    return "\n".join(["preflight: estimated, and measured since", *lines]) if rows else None


def _measured(work: Path, since: datetime) -> dict[str, StageRun]:
    """What stages took that finished after a time; the first time that they did."""
    found: dict[str, StageRun] = {}
    for run in history.read(work):
        if run.finished >= since.replace(microsecond=0):
            found.setdefault(run.stage, run)
    return found


def _compared(work: Path, name: str, estimate: StageEstimate, measured: StageRun) -> list[str]:
    files = (file for path in estimate.files for file in (work / path).rglob("*"))
    stored = sum(file.stat().st_size for file in files if file.is_file())
    return [
        name,
        *_pair(estimate.seconds, measured.seconds, clock),
        *_pair(estimate.written, stored, in_words),
        *_pair(estimate.all_bytes, MEGABYTE * measured.memory_megabytes, in_words),
    ]


def _pair(estimated: float, measured: float, words: Callable[[Any], str]) -> list[str]:
    if not measured:
        return [words(estimated), "-", ""]
    return [words(estimated), words(measured), f"{100 * (estimated / measured - 1):+.0f} %"]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns under each other: words to the left, numbers to the right."""
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for name, *cells in rows:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {name:{first}}{numbers}")
    return lines
