"""Many runs of a recipe that differ in a few settings, and one table and one picture of all of them.

The grammar is that of Hydra's ``--multirun``: ``setting=1,2,4``, ``setting=range(1,5)`` or
``setting=choice(a,b)``; all combinations are run. Each has a work folder of its own in
``<work>/sweeps/<name>/``, into which whatever is there already is linked: what is up to date is not made
again, and what is not replaces the link.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from asr_kd import artifacts, pipeline
from asr_kd.config import Config
from asr_kd.config.stages import stage_settings
from asr_kd.errors import AsrKdError
from asr_kd.jobs import LITTLE, OWN_WORKERS, Cost
from asr_kd.launching import make_launcher
from asr_kd.launching.order import Order
from asr_kd.progress import say
from asr_kd.report import sweep as sweep_report
from asr_kd.stages.order import STAGES, find_stage

Load = Callable[[Sequence[str]], Config]
# What the runs have in common is made up to here before the first of them.
_COMMON_STAGE = "train"
_LONGEST_NAME = 120  # of a folder; longer ones are cut, and told apart by a hash


@dataclass(frozen=True)
class Run:
    """One combination.

    Attributes:
        swept: the values of the settings that are swept, by setting.
        work: its folder.
        config: all settings.
    """

    swept: dict[str, str]
    work: Path
    config: Config


@dataclass(frozen=True)
class RunJob:
    """A run as a job.

    Attributes:
        name: for messages.
        config: all settings, from the first stage on that it differs in.
        sources: work folders whose artefacts it need not make again.
        cost: of its process.
        cores: all that there are, for it has workers of its own.
        processes: one.
    """

    name: str
    config: Config
    sources: tuple[Path, ...]
    cost: Cost = LITTLE
    cores: int = OWN_WORKERS
    processes: int = 1

    @property
    def path(self) -> Path:
        """The work folder."""
        return Path(self.config.work)

    @property
    def order(self) -> Order:
        """What it is where it is carried out by a command of its own."""
        return Order(self.config, links=tuple(map(str, self.sources)))

    def run(self) -> None:
        """See `jobs.Job`."""
        say(f"sweep: {self.name}")
        link_all(self.sources, self.path)
        pipeline.run(self.config)


def run(arguments: Sequence[str], load: Load) -> Path:
    """Run every combination and write ``sweep.md``, ``sweep.json`` and ``sweep.png``.

    Args:
        arguments: settings as for `run`, some of them with several values; and ``name=`` of the sweep.
            Without ``stop_stage`` runs end after stage distill: frames need no decoding.
        load: from settings to a configuration.

    Returns:
        The sweep's folder.

    Raises:
        AsrKdError: nothing is swept, or whatever a run raises; the same command goes on from there.
    """
    names = [one.removeprefix("name=") for one in arguments if one.startswith("name=")]
    given = [one for one in arguments if not one.startswith("name=")]
    if not any(one.startswith("stop_stage=") for one in given):
        given.append("stop_stage=distill")
    fixed, combinations = combine(given)
    base = load(fixed)
    folder = Path(base.work) / "sweeps" / (names[-1] if names else "sweep")
    runs = [_make_run(load, fixed, swept, folder) for swept in combinations]
    runs = _with_common_temperatures(runs)
    say(f"sweep: {len(runs)} runs in {folder}")
    if find_stage(base.stage, "stage").number <= find_stage(_COMMON_STAGE, "stage").number:
        pipeline.run(replace(base, stop_stage=_COMMON_STAGE))
    jobs = [
        RunJob(
            f"run {number + 1} of {len(runs)}: {one.work.name}",
            # Each would measure the machine anew.
            replace(one.config, stage=first_stage(base, one.config), preflight=False),
            (*(other.work for other in reversed(runs[:number])), Path(base.work)),
        )
        for number, one in enumerate(runs)
    ]
    launcher = make_launcher(base)
    # The first alone: what it makes of what all have in common, such as soft targets, the others need not.
    failures = []
    for some in (jobs[:1], jobs[1:]):
        try:
            launcher.map(some, "runs", lambda job: job.order)
        except AsrKdError as error:
            failures.append(str(error))
    if failures:
        raise AsrKdError("; ".join(failures))
    sweep_report.write(folder, [(one.swept, one.work) for one in runs], base.seed)
    say(f"sweep: {folder / sweep_report.TABLE_FILE}")
    return folder


def combine(arguments: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Split settings into those with one value, and all combinations of the others.

    Raises:
        AsrKdError: no setting has several values, or one cannot be parsed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
        several = [one for one in parsed if one.is_sweep_override()]
        values = [[str(value) for value in one.sweep_string_iterator()] for one in several]
    except HydraException as error:
        raise AsrKdError(f"sweep: {str(error).splitlines()[0]}") from error
    if not several:
        example = "distill.students.student.temperature=1,2,4"
        raise AsrKdError(f"sweep: give some setting several values, e.g. {example}")
    fixed = [one for one, override in zip(arguments, parsed, strict=True) if override not in several]
    keys = [one.get_key_element() for one in several]
    return fixed, [dict(zip(keys, chosen, strict=True)) for chosen in product(*values)]


def _make_run(load: Load, fixed: Sequence[str], swept: dict[str, str], folder: Path) -> Run:
    work = folder / folder_name(swept)
    settings = [f"{key}={value}" for key, value in swept.items()]
    without_work = [one for one in fixed if not one.startswith("work=")]
    return Run(swept, work, load([*without_work, *settings, f"work='{work}'"]))


def folder_name(swept: dict[str, str]) -> str:
    """A readable name of a combination: the last words of its settings, with their values."""
    text = ",".join(f"{key.lstrip('+').split('.')[-1]}={value}" for key, value in swept.items())
    whole = json.dumps(swept)
    name = "".join(letter if letter.isalnum() or letter in "=,.-_" else "-" for letter in text)
    short = len({key.split(".")[-1] for key in swept}) == len(swept) and len(name) <= _LONGEST_NAME
    return name if short else f"{name[:_LONGEST_NAME]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _with_common_temperatures(runs: Sequence[Run]) -> list[Run]:
    """One set of temperatures for all, so that runs can share their soft targets."""
    students = [student for one in runs for student in one.config.distill.students.values()]
    used = {student.temperature for student in students if student.soft_weight > 0}
    common = sorted(used.union(*(one.config.distill.temperatures for one in runs)))
    return [
        replace(one, config=replace(one.config, distill=replace(one.config.distill, temperatures=common)))
        for one in runs
    ]


def first_stage(base: Config, config: Config) -> str:
    """The first stage whose settings differ from the base's; stage distill at the latest."""
    for stage in STAGES:
        if stage.name == "distill" or stage_settings(config, stage.name) != stage_settings(base, stage.name):
            return stage.name
    raise AssertionError("there is a stage distill")


def link_all(sources: Sequence[Path | str], target: Path) -> None:
    """`link_artifacts` of several folders, the first having precedence."""
    for source in sources:
        link_artifacts(Path(source), target)


def link_artifacts(source: Path, target: Path) -> None:
    """Link every artefact below `source` into `target`, at the same place, where nothing is yet."""
    for artifact in artifacts.finished(source):
        place = artifact.path.relative_to(source)
        link = target / place
        if place.parts[0] in {"sweeps", "report"} or link.exists():
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)  # a link to what is there no longer
        link.symlink_to(artifact.path.resolve(), target_is_directory=True)
