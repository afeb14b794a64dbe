"""The order of the stages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from asr_kd.config import Config
from asr_kd.errors import AsrKdError
from asr_kd.planning import Wanted


@dataclass(frozen=True)
class Stage:
    """One stage of the road.

    Attributes:
        number: as users count; the numbers are those of the documentation and never change.
        name: also the name of its module in `asr_kd.stages` and of its folder.
        makes: what it writes, in a few words.
    """

    number: int
    name: str
    makes: str

    def run(self, config: Config, work: Path) -> None:
        """Do the stage's work, or find that it is up to date."""
        run: Callable[[Config, Path], None] = import_module(f"asr_kd.stages.{self.name}").run
        run(config, work)

    def plan(self, config: Config, work: Path) -> Iterator[Wanted]:
        """What `run` makes, or would find up to date."""
        plan: Callable[[Config, Path], Iterator[Wanted]] = import_module(f"asr_kd.stages.{self.name}").plan
        return plan(config, work)


STAGES = (
    Stage(0, "data", "manifests of train, dev and test, lexicon, language-model text"),
    Stage(1, "features", "frame store: log-mel filterbanks and MFCCs"),
    Stage(2, "align", "triphone GMM-HMM, senone labels, priors, decoding graphs"),
    Stage(3, "train", "the members of the ensemble"),
    Stage(4, "distill", "soft targets of the ensemble, students"),
    Stage(5, "compress", "pruned and quantised students"),
    Stage(6, "decode", "hypotheses and word error rates of every system"),
    Stage(7, "bench", "real-time factors, latency and memory on a CPU"),
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
