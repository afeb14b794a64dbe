"""The order of the stages: which run, which are up to date, how long each took."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from asr_kd.artifacts import replace_file
from asr_kd.config import Config
from asr_kd.errors import AsrKdError
from asr_kd.progress import say


@dataclass(frozen=True)
class Stage:
    """One stage of the road.

    Attributes:
        number: as users count; the numbers are those of the documentation and never change.
        name: also the name of its module in `asr_kd.stages`.
        makes: what it writes, in a few words.
    """

    number: int
    name: str
    makes: str

    def run(self, config: Config, work: Path) -> None:
        """Do the stage's work, or find that it is up to date."""
        run: Callable[[Config, Path], None] = import_module(f"asr_kd.stages.{self.name}").run
        run(config, work)


STAGES = (
    Stage(0, "data", "manifests of train, dev and test, lexicon, language-model text"),
    Stage(1, "features", "frame store: log-mel filterbanks and MFCCs"),
    Stage(2, "align", "triphone GMM-HMM, senone labels, priors, decoding graphs"),
    Stage(3, "train", "the members of the ensemble"),
    Stage(4, "distill", "soft targets of the ensemble, students"),
    Stage(6, "decode", "hypotheses and word error rates of every system"),
    Stage(7, "bench", "real-time factors on one thread"),
)


def find_stage(name: str, setting: str) -> Stage:
    """The stage of a number or name.

    Raises:
        AsrKdError: there is none; lists those there are.
    """
    for stage in STAGES:
        if str(name) in {str(stage.number), stage.name}:
            return stage
    known = ", ".join(f"{stage.number} {stage.name}" for stage in STAGES)
    raise AsrKdError(f"{setting}={name}: there is no such stage; there are {known}")


def run(config: Config) -> None:
    """Run the stages from `config.stage` to `config.stop_stage`, and write the report once there is a decode.

    Raises:
        AsrKdError: a stage could not do its work; what earlier stages made stays and is not made again.
    """
    first, last = find_stage(config.stage, "stage"), find_stage(config.stop_stage, "stop_stage")
    if first.number > last.number:
        raise AsrKdError(f"stage={config.stage} comes after stop_stage={config.stop_stage}: exchange them")
    work = Path(config.work)
    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for stage in STAGES:
        if first.number <= stage.number <= last.number:
            _run_stage(stage, config, work)
    if last.number >= find_stage("decode", "stage").number:
        from asr_kd.scoring import report

        report.write(config, work)
        say(f"report: {work / 'report' / 'report.md'}")
    say(f"{config.recipe}: finished in {_clock(time.monotonic() - started)}")


def _run_stage(stage: Stage, config: Config, work: Path) -> None:
    say(f"stage {stage.number} {stage.name}: {stage.makes}")
    started = time.monotonic()
    stage.run(config, work)
    seconds = time.monotonic() - started
    say(f"stage {stage.number} {stage.name}: {_clock(seconds)}")
    _record(work, stage, seconds, config)


def _record(work: Path, stage: Stage, seconds: float, config: Config) -> None:
    """Append to ``stages.jsonl`` when a stage ran and how long it took; the report reads it."""
    path = work / "stages.jsonl"
    line = {
        "stage": stage.name,
        "seconds": round(seconds, 2),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    with replace_file(work / "settings.json") as temporary:
        temporary.write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
