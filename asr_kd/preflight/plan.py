"""What a run has to do: the steps of its stages, the files that they write, and what has to be measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_kd import memory
from asr_kd.config import Config
from asr_kd.costs import Step
from asr_kd.preflight import measure_networks
from asr_kd.preflight.measure import Found
from asr_kd.preflight.sizes import Sizes


@dataclass(frozen=True)
class Need:
    """Something to measure.

    Attributes:
        measure: a function of `measure`.
        of: its argument.
        processes: that do it at the same time.
    """

    measure: Callable[[Any], Found]
    of: Any
    processes: int


@dataclass
class Plan:
    """The work of a run.

    Attributes:
        steps: in their order.
        files: of every artefact that is to be made, the stage that makes it and its bytes.
        scratch: bytes that a stage needs for a while, by stage.
        needs: what has to be measured for the units of work, by unit.
    """

    steps: list[Step] = field(default_factory=list)
    files: dict[Path, tuple[str, int]] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    needs: dict[str, Need] = field(default_factory=dict)

    def write(self, stage: str, path: Path, size: int) -> None:
        """Note that a stage makes an artefact of about so many bytes."""
        self.files[path] = stage, size

    def need_scratch(self, stage: str, size: int) -> None:
        """Note that a stage needs so much for a while, perhaps among other things at other times."""
        self.scratch[stage] = max(size, self.scratch.get(stage, 0))


@dataclass(frozen=True)
class Scene:
    """What a run begins with.

    Attributes:
        config: of the recipe.
        work: its folder.
        sizes: of its corpus.
        missing: artefacts that are to be made, and folders of stages whose artefacts nobody knows yet.
        workers: processes at most.
        device: where networks compute.
        seconds: to measure the speed of a network for.
        done: artefacts that stay, in folders too of which not all is known.
    """

    config: Config
    work: Path
    sizes: Sizes
    missing: frozenset[Path]
    workers: int
    device: str
    seconds: float
    done: frozenset[Path] = frozenset()

    def lacks(self, path: Path) -> bool:
        """Whether the artefact at `path` is to be made."""
        if path in self.done:
            return False
        return path in self.missing or self.work / path.relative_to(self.work).parts[0] in self.missing

    def processes(self, private_bytes: int, threads: int = 1) -> int:
        """How many worker processes of some threads there will be, if one takes so much memory."""
        wanted, left = max(1, self.workers // threads), memory.unused()
        return wanted if left is None else max(1, min(wanted, left // max(1, private_bytes)))

    def network(self, plan: Plan, name: str, model: Mapping[str, Any]) -> str:
        """The unit of work of scoring a frame with a network; the plan learns how to measure it."""
        unit = f"frame scored by {name}"
        precision = self.config.precision
        network = measure_networks.Network(
            unit, model, self.sizes.dims, self.sizes.senones, self.device, precision, self.seconds
        )
        plan.needs.setdefault(unit, Need(measure_networks.measure_network, network, self.workers))
        return unit
