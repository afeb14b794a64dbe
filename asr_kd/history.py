"""What the stages of a work folder took, run by run: ``stages.jsonl``, a line for every one that finished."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

FILE = "stages.jsonl"


@dataclass(frozen=True)
class StageRun:
    """A run of a stage that finished.

    Attributes:
        stage: its name.
        seconds: that it took.
        memory_megabytes: peak of private memory of all its processes; 0: not known.
        finished: when, in whole seconds.
        settings: that it read.
    """

    stage: str
    seconds: float
    memory_megabytes: int
    finished: datetime
    settings: dict[str, Any]


def note(work: Path, run: StageRun) -> None:
    """Add a line to the history of a work folder."""
    line = {
        "stage": run.stage,
        "seconds": round(run.seconds, 2),
        "memory_megabytes": run.memory_megabytes,
        "finished": run.finished.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": run.settings,
    }
    path = work / FILE
    cut_short = path.is_file() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * cut_short + json.dumps(line) + "\n")


def read(work: Path) -> list[StageRun]:
    """The history of a work folder, oldest first, without lines that a kill or a full disk cut short."""
    path, runs = work / FILE, []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            one = json.loads(line)
            finished = datetime.fromisoformat(one["finished"])
            # Lines of earlier versions have neither memory nor settings.
            memory, settings = int(one.get("memory_megabytes", 0)), dict(one.get("settings", {}))
            runs.append(StageRun(str(one["stage"]), float(one["seconds"]), memory, finished, settings))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return runs
