"""The part of stage bench that measures exported systems as they are shipped, beside peers.

Writes ``bench-deployed/deployed.json``, and a table and a picture of what every step of compression costs.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import soundfile

from asr_kd import artifacts, disk
from asr_kd.bench.deployed import Deployed, Measured, TimedRecogniser, measure, summarise
from asr_kd.bench.fresh import fresh_process
from asr_kd.bench.pareto import render_pareto
from asr_kd.bench.pareto_picture import draw_pareto
from asr_kd.bench.peers import pocketsphinx_peers
from asr_kd.config import Config
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.decoding.graph import COUNTS_FILE, GRAPH_FILE, WORDS_FILE
from asr_kd.decoding.network import NETWORK_FILE
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.features.extract import load_waveform
from asr_kd.jobs import available_cores, map_processes
from asr_kd.planning import Wanted, check_settled
from asr_kd.progress import say
from asr_kd.scoring.wer import count_errors, total
from asr_kd.stages.package import ONE_NETWORK, extraction_of, write_model

FOLDER = "bench-deployed"
KINDS = ("student", "pruned", "int8")
FIRST_WORDS_SECONDS = 3.0  # length of the file whose words are waited for


def plan(config: Config, work: Path, lm: str, processor: str) -> Iterator[Wanted]:
    """What `run` makes, see there and `planning`."""
    systems = _systems(config, work)
    if systems:
        yield Wanted(work / FOLDER, partial(_made_from, config, work, lm, systems, processor))


def run(config: Config, work: Path, lm: str, utterances: Sequence[Utterance], processor: str) -> None:
    """Measure every student, pruned and quantised system (or those of `bench.systems`) as a model folder.

    Args:
        config: of the recipe, which has been decoded.
        work: its folder.
        lm: the language model.
        utterances: of the test part, with durations.
        processor: what computes.
    """
    systems = _systems(config, work)
    if not systems:
        say("bench: no system to export")
        return
    made_from = _made_from(config, work, lm, systems, processor)
    path = work / FOLDER
    if artifacts.find(path, made_from) is not None:
        say("bench of exported systems: up to date")
        return
    with (
        artifacts.create(path, made_from) as folder,
        tempfile.TemporaryDirectory(dir=folder, prefix=".models-") as scratch,
    ):
        for system in systems:
            write_model(config, work, system, lm, Path(scratch) / system.name, made_from)
        content: dict[str, Any] = {
            "lm": lm,
            "part": "test",
            "utterances": len(utterances),
            "audio_seconds": sum(one.duration_seconds or 0.0 for one in utterances),
            "passes": config.bench.passes,
            "machine": _machine(processor),
            "systems": _rows(config, work, lm, systems, utterances, Path(scratch)),
        }
        content["pareto"] = _pareto(config, work, lm, content["systems"])
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        (folder / "deployed.json").write_text(text, encoding="utf-8")
        (folder / "deployed.md").write_text(render_pareto(content), encoding="utf-8")
        draw_pareto(folder / "pareto.png", content["pareto"])


def _made_from(
    config: Config, work: Path, lm: str, systems: Sequence[System], processor: str
) -> dict[str, Any]:
    """The fingerprint: all that is measured, and all that the table of every system says."""
    settings = {
        "bench": asdict(config.bench),
        "features": asdict(config.features),
        "lm": lm,
        "processor": processor,
        "cores": available_cores(),
        "systems": [system.name for system in systems],
    }
    folders = {
        "bench": work / "bench",
        "graph": work / "align" / f"graph-{lm}",
        "labels": work / "align" / "labels",
        "features of train": work / "features" / "train",  # the statistics of speakers
    }
    folders |= {f"network {system.name}": system.models[0] for system in systems}
    folders |= {
        f"decoding {system.name}": work / "decode" / lm / system.name for system in _in_table(config, work)
    }
    inputs: dict[str, artifacts.Artifact | str] = {
        role: artifacts.Artifact(folder) for role, folder in folders.items()
    }
    check_settled(work / "data")
    inputs["test part"] = artifacts.file_digest(work / "data" / "test.jsonl")
    return artifacts.fingerprint("bench of deployed systems", settings, inputs)


def _in_table(config: Config, work: Path) -> list[System]:
    return [system for system in recipe_systems(config, work) if system.kind != "gmm"]


def _systems(config: Config, work: Path) -> list[System]:
    known = [one for one in recipe_systems(config, work) if one.kind in ONE_NETWORK]
    if config.bench.systems:
        return [one for one in known if one.name in config.bench.systems]
    return [one for one in known if one.kind in KINDS]


@dataclass(frozen=True)
class _Job:
    """All that the measuring process needs."""

    config: Config
    folders: dict[str, Path]
    utterances: tuple[Utterance, ...]
    lexicon: Path
    lm: Path
    threads: int
    peers: bool


def _rows(
    config: Config,
    work: Path,
    lm: str,
    systems: Sequence[System],
    utterances: Sequence[Utterance],
    scratch: Path,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    kinds = {system.name: system.kind for system in systems}
    folders = {system.name: scratch / system.name for system in systems}
    audio = _audio_files(config, utterances, scratch)
    references = {one.id: one.words for one in utterances}
    for threads in dict.fromkeys((config.bench.threads, available_cores())):
        graph = work / "align" / f"graph-{lm}"
        job = _Job(
            config,
            folders,
            tuple(utterances),
            work / "data" / "lexicon.txt",
            graph / "G.arpa",
            threads,
            config.bench.peers and threads == config.bench.threads,
        )
        # In a process of its own, whose numeric libraries have one thread each from the start.
        ((_, found),) = map_processes(_measure, [job], 1, "bench")
        for name, measured in found.items():
            hypotheses = dict(zip(references, measured.words, strict=True))
            counts = total(count_errors(references, hypotheses).values())
            row: dict[str, Any] = {"system": name, "kind": kinds.get(name, "peer"), "threads": threads}
            row |= {"wer": counts.wer, "errors": counts.errors, "words": counts.words} | summarise(measured)
            if name in folders:
                row["bytes"] = _sizes(folders[name])
                row["fresh_process"] = fresh_process(folders[name], threads, audio)
            rows.append(row)
            say(
                f"{name}, {threads} thread(s): real-time factor {row['rtf']['total']['median']:.4f}, "
                f"WER {counts.wer:.2%}"
            )
    return rows


def _measure(job: _Job) -> dict[str, Measured]:
    extraction = extraction_of(job.config)
    waveforms = [load_waveform(utterance, extraction) for utterance in job.utterances]
    recognisers: dict[str, Deployed] = {
        name: TimedRecogniser(folder, job.threads) for name, folder in job.folders.items()
    }
    rate = job.config.data.sample_rate
    with tempfile.TemporaryDirectory() as scratch:
        if job.peers and job.lm.is_file():
            lexicon = Lexicon.read(job.lexicon)
            recognisers |= pocketsphinx_peers(lexicon, job.lm, Path(scratch), rate)
        return measure(recognisers, waveforms, rate, job.config.bench.passes)


def _audio_files(config: Config, utterances: Sequence[Utterance], scratch: Path) -> list[str]:
    """Files for a fresh process: the first of about `FIRST_WORDS_SECONDS`, then some more."""
    ordered = sorted(utterances, key=lambda one: abs((one.duration_seconds or 0.0) - FIRST_WORDS_SECONDS))
    files = []
    for number, utterance in enumerate(ordered[:20]):
        path = scratch / f"audio-{number}.wav"
        waveform = load_waveform(utterance, extraction_of(config))
        with disk.naming(path):  # here: where the scratch is gone there is room again
            soundfile.write(path, waveform, config.data.sample_rate)
        files.append(str(path))
    return files


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    return {
        "network": sizes[NETWORK_FILE],
        "graph": sizes[GRAPH_FILE] + sizes[COUNTS_FILE] + sizes[WORDS_FILE],
        "total": sum(sizes.values()),
    }


def _machine(processor: str) -> dict[str, Any]:
    packages = ("numpy", "onnxruntime", "kaldi-decoder", "kaldifst", "kaldi-native-fbank")
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "cores": available_cores(),
        "load_average": os.getloadavg()[0],
        "measured": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }


def _pareto(config: Config, work: Path, lm: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every system on the way: sizes, quality on test as decoded, and speed where it was measured."""
    speeds = {row["system"]: row for row in rows if row["threads"] == config.bench.threads}
    torch_bench = work / "bench" / "bench.json"
    in_torch = json.loads(torch_bench.read_text(encoding="utf-8"))["systems"] if torch_bench.is_file() else []
    torch_speeds = {row["system"]: row["rtf"] for row in in_torch}
    points = []
    for system in _in_table(config, work):
        metrics_file = work / "decode" / lm / system.name / "metrics.json"
        known = json.loads(metrics_file.read_text(encoding="utf-8"))
        test, deployed = known["parts"]["test"], speeds.get(system.name)
        in_recipe = torch_speeds.get(system.name)
        points.append(
            {
                "system": system.name,
                "kind": system.kind,
                "parameters": known["parameters"],
                "bytes": _stored_bytes(system),
                "wer": test["wer"],
                "words": test["words"],
                "frame_accuracy": test["frame_accuracy"],
                "cross_entropy": test["cross_entropy"],
                "deployed_rtf": deployed["rtf"]["total"]["median"] if deployed else None,
                "deployed_wer": deployed["wer"] if deployed else None,
                "torch_rtf": in_recipe["total"]["median"] if in_recipe else None,
                "acoustic_rtf": in_recipe["acoustic"]["median"] if in_recipe else None,
            }
        )
    return points


def _stored_bytes(system: System) -> int:
    """Of the networks' weights on disk."""
    names = ("model.safetensors", NETWORK_FILE)
    files = [folder / name for folder in system.models for name in names]
    return sum(file.stat().st_size for file in files if file.is_file())
