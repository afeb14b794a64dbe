"""The verb `status`: what of a recipe is done, what a run would do, and why. Changes nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from asr_kd import artifacts
from asr_kd.artifacts import Artifact
from asr_kd.config import Config
from asr_kd.errors import AsrKdError
from asr_kd.planning import UnsettledError, Wanted, looking
from asr_kd.stages.order import STAGES, Stage

Condition = Literal["done", "stale", "partial", "missing", "waiting", "damaged", "refused"]

# What a run does about it.
MEANINGS: dict[Condition, str] = {
    "done": "whole, and made from exactly today's settings and inputs: a run leaves it as it is",
    "stale": "made from other settings or inputs: a run makes it again",
    "partial": "begun: a run goes on with it",
    "missing": "a run makes it",
    "waiting": "a run makes it again if what it is made from comes out otherwise",
    "damaged": "not what was written: a run refuses it",
    "refused": "a run would end here",
}


@dataclass(frozen=True)
class State:
    """An artefact, or what is left of a stage that cannot say what else it makes.

    Attributes:
        stage: its name.
        path: of the artefact, or of the stage's folder.
        condition: see `MEANINGS`.
        why: in words; empty where nothing is to be said.
    """

    stage: str
    path: Path
    condition: Condition
    why: str = ""


def states(config: Config, work: Path, stages: Sequence[Stage] = STAGES, hashes: bool = True) -> list[State]:
    """Every artefact of a recipe in the order of the stages.

    Args:
        config: of the recipe.
        work: its folder.
        stages: that are looked at; those before the first are taken for done.
        hashes: verify every file by hash, not by size alone.
    """
    found: dict[Path, State] = {}
    # What the stages say of what they find up to date is said better by the states.
    with looking() as unsettled, redirect_stdout(StringIO()):
        for stage in stages:
            try:
                for wanted in stage.plan(config, work):
                    if wanted.path not in found:
                        found[wanted.path] = state = _examine(stage.name, wanted, hashes)
                        if state.condition != "done":
                            unsettled.add(wanted.path)
            except UnsettledError as error:
                found[work / stage.name] = State(stage.name, work / stage.name, "waiting", str(error))
            except AsrKdError as error:
                found[work / stage.name] = State(stage.name, work / stage.name, "refused", str(error))
                break  # no run comes further
    return list(found.values())


def _examine(stage: str, wanted: Wanted, hashes: bool) -> State:
    path, made_from = wanted.path, None
    failure: Condition = "damaged"
    try:
        if (path / artifacts.MANIFEST).exists():
            made_from = Artifact(path).manifest["fingerprint"]
            Artifact(path).verify(hashes)
        failure = "refused"
        today = wanted.made_from()
    except UnsettledError as error:
        return State(stage, path, "waiting" if made_from else "missing", str(error))
    except AsrKdError as error:
        return State(stage, path, failure, str(error))
    if made_from is not None and not artifacts.differences(made_from, today):
        return State(stage, path, "done")
    begun = artifacts.begun(path)
    if begun is not None and not artifacts.differences(begun, today):
        return State(stage, path, "partial")
    if made_from is None:
        return State(stage, path, "missing")
    return State(stage, path, "stale", _changes(made_from, today))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    words = []
    for name, (before, now) in artifacts.changes(old, new).items():
        section, _, rest = name.partition(".")
        words.append(f"input {rest}" if section == "inputs" else f"{rest or name} {before} -> {now}")
    return "changed: " + ", ".join(words)


def render(work: Path, found: Sequence[State]) -> str:
    """The states as people read them, with what those that occur mean."""
    width = max((len(_name(work, state)) for state in found), default=0)
    lines = []
    for stage in STAGES:
        own = [state for state in found if state.stage == stage.name]
        if not own:
            continue
        done = sum(state.condition == "done" for state in own)
        lines.append(f"{stage.number} {stage.name}: {done} of {len(own)} done")
        for state in own:
            why = f"  {state.why}" if state.why else ""
            lines.append(f"  {_name(work, state):{width}}  {state.condition}{why}")
    counts = Counter(state.condition for state in found)
    lines += ["", *(f"{counts[one]:4} {one}: {MEANINGS[one]}" for one in MEANINGS if counts[one])]
    return "\n".join(lines)


def _name(work: Path, state: State) -> str:
    return state.path.relative_to(work).as_posix()
