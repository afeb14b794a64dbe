"""The order of the stages: which run, which are up to date, how long each took."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from asr_kd import artifacts, history, lock, memory
from asr_kd.config import Config
from asr_kd.config.stages import stage_settings
from asr_kd.errors import AsrKdError
from asr_kd.history import StageRun
from asr_kd.preflight import check as preflight
from asr_kd.preflight.table import outcome
from asr_kd.progress import clock, say
from asr_kd.stages.order import STAGES, Stage, find_stage
from asr_kd.status import states

SETTINGS_FILE = "settings.json"  # what each stage was last finished with


def run(config: Config) -> None:
    """Run the stages from `config.stage` to `config.stop_stage`, and write the report once there is a decode.

    Raises:
        AsrKdError: a stage could not do its work; what earlier stages made stays and is not made again.
            Or another run is at work in the folder.
    """
    first, last = find_stage(config.stage, "stage"), find_stage(config.stop_stage, "stop_stage")
    if first.number > last.number:
        raise AsrKdError(f"stage={config.stage} comes after stop_stage={config.stop_stage}: exchange them")
    with _at_work(config) as work:
        _run(config, work, first, last)


def estimate(config: Config) -> None:
    """Show what a run would take, without running it; stage data alone is made, where it is not up to date.

    Where all is up to date the last estimate is shown beside what was measured since.

    Raises:
        AsrKdError: stage data could not do its work, the disk has no room for a run, or another run is at
            work in the folder.
    """
    data, *others = STAGES
    with _at_work(config) as work:
        if any(state.condition != "done" for state in states(config, work, [data], hashes=False)):
            say("preflight: stage data first, for the sizes of the corpus")
            _run_stage(data, config, work)
        found = preflight.check(config, others)
        if found is not None and not found.stages:
            say(f"preflight: {config.recipe} is up to date")
            if measured := outcome(work):
                say(measured)


@contextmanager
def _at_work(config: Config) -> Iterator[Path]:
    """The work folder, which no other run is at work in meanwhile."""
    work = Path(config.work)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AsrKdError(f"work={config.work}: the folder cannot be made ({error.strerror})") from error
    with lock.hold(work), memory.budgeted(config.memory_budget):
        artifacts.remove_temporaries(work)
        yield work


def _run(config: Config, work: Path, first: Stage, last: Stage) -> None:
    started = time.monotonic()
    for stage in STAGES:
        if stage.number < first.number:
            _check_earlier(stage, first, config, work)
        elif stage.number <= last.number:
            # After stage data, which is quick, and says how large the corpus is.
            if config.preflight and stage.number == max(first.number, 1):
                preflight.check(config, STAGES[stage.number : last.number + 1])
            _run_stage(stage, config, work)
    if last.number >= find_stage("decode", "stage").number:
        from asr_kd.report import write

        write.write(config, work)
        say(f"report: {work / 'report' / 'report.md'}")
    say(f"{config.recipe}: finished in {clock(time.monotonic() - started)}")


def _check_earlier(stage: Stage, first: Stage, config: Config, work: Path) -> None:
    """Refuse what an earlier stage left behind if it is damaged, or made by other settings or versions."""
    for artifact in artifacts.finished(work / stage.name):
        artifact.verify()
        artifact.check_version()
    made_with = _recorded(work).get(stage.name)
    changed = artifacts.differences(made_with, stage_settings(config, stage.name)) if made_with else []
    if changed:
        raise AsrKdError(
            f"stage={first.name} would go on from what stage {stage.name} made with other settings "
            f"({', '.join(changed)}); start at stage={stage.name}, or leave these settings as they were"
        )


def _recorded(work: Path) -> dict[str, Any]:
    """The settings that each stage last finished with."""
    path = work / SETTINGS_FILE
    try:
        recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise AsrKdError(f"{path} is damaged ({error}); delete it and run from stage=data on") from error
    return recorded


def _run_stage(stage: Stage, config: Config, work: Path) -> None:
    say(f"stage {stage.number} {stage.name}: {stage.makes}")
    started = time.monotonic()
    with memory.Watch() as watch:
        stage.run(config, work)
    memory.give_back()  # the next stage counts what this process holds
    seconds = time.monotonic() - started
    say(f"stage {stage.number} {stage.name}: {clock(seconds)}, {memory.in_words(watch.peak)} of memory")
    known = memory.budget()
    if known.given and known.size is not None and watch.peak > known.size:
        say(
            f"stage {stage.number} {stage.name}: that is more than memory_budget={config.memory_budget}; "
            "lower `workers` where it has to be kept"
        )
    _record(work, stage, seconds, watch.peak, config)


def _record(work: Path, stage: Stage, seconds: float, peak_bytes: int, config: Config) -> None:
    """Note with what settings a stage finished and how long it took: later stages and the report read it."""
    settings = stage_settings(config, stage.name)
    megabytes = round(peak_bytes / memory.MEGABYTE)
    history.note(work, StageRun(stage.name, seconds, megabytes, datetime.now().astimezone(), settings))
    with artifacts.replace_file(work / SETTINGS_FILE) as temporary:
        content = _recorded(work) | {stage.name: settings}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
