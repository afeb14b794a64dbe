"""Which launcher a recipe has."""

from pathlib import Path

from asr_kd.config import Config, SlurmConfig
from asr_kd.jobs import resolve_workers
from asr_kd.launching.launcher import Launcher
from asr_kd.launching.local import LocalLauncher


def make_launcher(config: Config) -> Launcher:
    """The launcher that the setting `launcher` chooses."""
    if isinstance(config.launcher, SlurmConfig):
        from asr_kd.launching.slurm import SlurmLauncher  # here: few have submitit

        return SlurmLauncher(config, config.launcher, Path(config.work))
    return LocalLauncher(resolve_workers(config.workers))
