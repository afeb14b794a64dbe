"""Stage 7: real-time factors of the systems that were decoded."""

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd import artifacts
from asr_kd.bench.material import choose_utterances, processor
from asr_kd.bench.realtime import Bench, run_bench, summarise
from asr_kd.config import Config
from asr_kd.corpus.manifest import read_manifest
from asr_kd.decoding.search import SearchSettings
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.features.extract import Extraction
from asr_kd.jobs import map_processes
from asr_kd.models.storage import read_description
from asr_kd.planning import Wanted, check_settled
from asr_kd.progress import say
from asr_kd.report.results import headline_lm
from asr_kd.stages import bench_deployed, given_frames


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    if given_frames.is_given(config):
        return
    yield Wanted(work / "bench", partial(_made_from, config, work))
    yield from bench_deployed.plan(config, work, headline_lm(config), processor())


def run(config: Config, work: Path) -> None:
    """Write ``bench/bench.json``, and ``bench-deployed`` of exported systems.

    Raises:
        AsrKdError: a system is not known, or was not decoded.
    """
    if config.bench.passes < 1 or config.bench.threads < 1:
        raise AsrKdError("bench.passes and bench.threads: give at least 1")
    _measure_systems(config, work)
    test = read_manifest(work / "data" / "test.jsonl")
    utterances = choose_utterances(test, config.bench.seconds_of_audio)
    bench_deployed.run(config, work, headline_lm(config), utterances, processor())


def _decodings(config: Config, work: Path) -> dict[str, artifacts.Artifact]:
    folder = work / "decode" / headline_lm(config)
    return {one.name: artifacts.Artifact(folder / one.name) for one in choose_systems(config, work)}


def _made_from(config: Config, work: Path) -> dict[str, Any]:
    lm, decodings = headline_lm(config), _decodings(config, work)
    settings = {
        "bench": asdict(config.bench),
        "features": asdict(config.features),
        "systems": list(decodings),
        "lm": lm,
        "processor": processor(),
    }
    graph = artifacts.Artifact(work / "align" / f"graph-{lm}")
    return artifacts.fingerprint("bench", settings, {**decodings, "graph": graph})


def _measure_systems(config: Config, work: Path) -> None:
    systems, lm = choose_systems(config, work), headline_lm(config)
    decodings, made_from = _decodings(config, work), _made_from(config, work)
    if artifacts.find(work / "bench", made_from) is not None:
        say("bench: up to date")
        return
    metrics = {name: _read_metrics(artifact / "metrics.json") for name, artifact in decodings.items()}
    bench = _bench(config, work, lm, [(system, metrics[system.name]) for system in systems])
    # In a process of its own, whose numeric libraries have one thread each from the start.
    ((_, factors),) = map_processes(run_bench, [bench], 1, "bench")
    alike = _same_architecture(recipe_systems(config, work))
    rows = []
    for system in systems:
        known, rtf = metrics[system.name], summarise(factors[system.name])
        rows.append(
            {
                "system": system.name,
                "kind": system.kind,
                "same_architecture": alike.get(system.name, []),
                "decoding": decodings[system.name].digest,
                "rtf": rtf,
                "wer": known["parts"]["test"]["wer"],
                "acoustic_scale": known["acoustic_scale"],
                "beam": known["beam"],
                "parameters": known["parameters"],
            }
        )
        medians = ", ".join(f"{phase} {values['median']:.4f}" for phase, values in rtf.items())
        say(f"{system.name}: real-time factor {medians}; WER {rows[-1]['wer']:.2%}")
    content = {
        "lm": lm,
        "part": "test",
        "utterances": len(bench.utterances),
        "audio_seconds": sum(utterance.duration_seconds or 0.0 for utterance in bench.utterances),
        "passes": config.bench.passes,
        "threads": config.bench.threads,
        "machine": platform.machine(),
        "processor": processor(),
        "systems": rows,
    }
    with artifacts.create(work / "bench", made_from) as folder:
        (folder / "bench.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def choose_systems(config: Config, work: Path) -> list[System]:
    """The systems that `bench.systems` names; if it names none: all, of members only one an architecture.

    Raises:
        AsrKdError: the recipe has no such system.
    """
    known = {system.name: system for system in recipe_systems(config, work)}
    unknown = sorted(set(config.bench.systems) - set(known))
    if unknown:
        raise AsrKdError(f"bench.systems: there is no system {unknown[0]!r}; there are {', '.join(known)}")
    if config.bench.systems:
        return [known[name] for name in config.bench.systems]
    alike = _same_architecture(list(known.values()))
    return [system for system in known.values() if system.kind != "member" or system.name in alike]


def _same_architecture(systems: Sequence[System]) -> dict[str, list[str]]:
    """By the first member of every architecture, the other members that have it."""
    firsts: dict[str, str] = {}
    alike: dict[str, list[str]] = {}
    for system in systems:
        if system.kind == "member":
            check_settled(system.models[0])
            architecture = json.dumps(read_description(system.models[0]), sort_keys=True)
            first = firsts.setdefault(architecture, system.name)
            alike.setdefault(first, []).extend([system.name] if system.name != first else [])
    return alike


def _bench(config: Config, work: Path, lm: str, systems: Sequence[tuple[System, dict[str, Any]]]) -> Bench:
    return Bench(
        tuple(
            (system, SearchSettings(known["acoustic_scale"], known["beam"], known["max_active"]))
            for system, known in systems
        ),
        work / "align" / f"graph-{lm}",
        work / "align" / "labels",
        Extraction(config.features, config.data.sample_rate, config.data.resample, "cpu", config.seed),
        tuple(choose_utterances(read_manifest(work / "data" / "test.jsonl"), config.bench.seconds_of_audio)),
        config.bench.passes,
        config.bench.threads,
    )


def _read_metrics(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
