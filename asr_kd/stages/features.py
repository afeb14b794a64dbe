"""Stage 1: the frame stores of train, dev and test."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.errors import AsrKdError
from asr_kd.features.extract import Extraction, extract
from asr_kd.features.store import Part
from asr_kd.jobs import LITTLE, OWN_WORKERS, Cost, resolve_workers
from asr_kd.launching import make_launcher
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.stages import given_frames

PARTS = ("train", "dev", "test")


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    if given_frames.is_given(config):
        return
    data = artifacts.Artifact(work / "data")
    for part in PARTS:
        made_from = partial(_made_from, config, data, part)
        yield Wanted(work / "features" / part, made_from, partial(_FeaturesJob, config, work))


def run(config: Config, work: Path) -> None:
    """Write ``features/<part>`` from ``data/<part>.jsonl``.

    Raises:
        AsrKdError: audio that cannot be used, by utterance; a setting that means nothing.
    """
    if given_frames.is_given(config):
        say("features: the corpus gives them")
        return
    stale = _stale(config, work)
    for part in PARTS:
        if part not in stale:
            say(f"features/{part}: up to date")
    if stale:
        make_launcher(config).map([_FeaturesJob(config, work)], "features")


@dataclass(frozen=True)
class _FeaturesJob:
    """All parts that are not up to date, at once, so that workers are started once.

    Attributes:
        config: of the recipe.
        work: its folder.
        name: for messages.
        cost: of the process that has the workers.
        cores: all that there are.
        processes: one.
    """

    config: Config
    work: Path
    name: str = "features"
    cost: Cost = LITTLE
    cores: int = OWN_WORKERS
    processes: int = 1

    @property
    def path(self) -> Path:
        """One of the parts."""
        return self.work / "features" / PARTS[0]

    def run(self) -> None:
        """See `jobs.Job`."""
        _extract(self.config, self.work, _stale(self.config, self.work))


def _stale(config: Config, work: Path) -> dict[str, dict[str, Any]]:
    """What the parts that are not up to date are to be made from."""
    data = artifacts.Artifact(work / "data")
    wanted = {part: _made_from(config, data, part) for part in PARTS}
    return {
        part: made_from
        for part, made_from in wanted.items()
        if artifacts.find(work / "features" / part, made_from) is None
    }


def _extract(config: Config, work: Path, stale: dict[str, dict[str, Any]]) -> None:
    if not stale:
        return
    data = artifacts.Artifact(work / "data")
    extraction = Extraction(
        config.features, config.data.sample_rate, config.data.resample, config.device, config.seed
    )
    started = time.perf_counter()
    with ExitStack() as stack:
        utterances = {}
        for part, made_from in stale.items():
            folder = stack.enter_context(artifacts.create(work / "features" / part, made_from))
            utterances[folder] = _utterances(data, part)
        stored = extract(utterances, extraction, resolve_workers(config.workers))
        for folder, part_stored in zip(utterances, stored, strict=True):
            _write_summary(folder, part_stored, config)
    frames = sum(part.index.total_frames for part in stored)
    hours = frames * config.features.frame_shift_milliseconds / 3.6e6
    speed = hours * 3600 / (time.perf_counter() - started)
    say(f"features: {hours:.2f} h of {', '.join(stale)} at {speed:.0f} times real time")


def _made_from(config: Config, data: artifacts.Artifact, part: str) -> dict[str, Any]:
    settings = {
        "features": asdict(config.features),
        "sample_rate": config.data.sample_rate,
        # The dither is the only thing drawn at random.
        "seed": config.seed if config.features.dither > 0 else None,
    }
    inputs = {"data": data.sha256(f"{part}.jsonl"), "audio": data.sha256(f"{part}_audio.txt")}
    return artifacts.fingerprint("features", settings, inputs)


def _utterances(data: artifacts.Artifact, part: str) -> list[Utterance]:
    utterances = read_manifest(data / f"{part}.jsonl")
    if not utterances:
        raise AsrKdError(f"{data / f'{part}.jsonl'} has no utterances; look at the corpus and `data.parts`")
    return utterances


def _write_summary(folder: Path, part: Part, config: Config) -> None:
    frames = part.index.total_frames
    summary = {
        "utterances": len(part.index),
        "speakers": len(set(part.index.speakers)),
        "frames": frames,
        "hours": round(frames * config.features.frame_shift_milliseconds / 3.6e6, 4),
        "mel_bins": part.fbank.shape[1],
        "cepstra": part.mfcc.shape[1],
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
