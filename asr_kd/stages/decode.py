"""Stage 6: hypotheses, word errors and frame errors of every system with every language model."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.costs import scoring_memory, search_memory
from asr_kd.decoding.acoustic import PartQuality, load_scorer, read_log_priors, score_part
from asr_kd.decoding.decode import Scored, count_columns, decode_part
from asr_kd.decoding.graph import GRAPH_FILE
from asr_kd.decoding.search import Hypothesis, SearchSettings
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.decoding.tuning import Tuning, tune, tuning_part
from asr_kd.distillation.teachers import checked_specialists
from asr_kd.frames import FrameIndex
from asr_kd.jobs import LITTLE, OWN_WORKERS, Cost, WorkerPool, resolve_workers
from asr_kd.launching import make_launcher
from asr_kd.models.devices import resolve_device
from asr_kd.models.storage import stored_bytes
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.scoring.transcripts import read_references, write_transcripts
from asr_kd.scoring.wer import ErrorCounts, count_errors, total
from asr_kd.stages import given_frames

PARTS = ("dev", "test")
MOST_CONFUSED = 1000  # pairs of senones that are kept of every part


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    if given_frames.is_given(config):
        return
    for system in recipe_systems(config, work):
        for lm in config.lms:
            made_from = partial(_made_from, config, work, system, lm)
            yield Wanted(_folder(work, lm, system), made_from, partial(_SystemJob, config, work, system))


def run(config: Config, work: Path) -> None:
    """Write ``decode/<lm>/<system>`` for every system of the recipe, each system a job.

    Raises:
        AsrKdError: an earlier stage has not finished, or models, labels and graphs do not fit each other.
    """
    given_frames.refuse_decoding(config)
    # All systems are looked at before the first is decoded: what is missing shows at once.
    systems = recipe_systems(config, work)
    waiting = [system for system in systems if _stale(config, work, system)]
    for system in systems:
        if system not in waiting:
            say(f"decode/*/{system.name}: up to date")
            shutil.rmtree(_scores_folder(work, system), ignore_errors=True)  # of a run that was killed
    if not waiting:
        return
    # One pool for all systems that are decoded here: workers load torch and the graphs once.
    with _tools(config, work, waiting) as tools:
        jobs = [_SystemJob(config, work, system, tools) for system in waiting]
        make_launcher(config).map(jobs, "systems")


@dataclass(frozen=True)
class _SystemJob:
    """A system to decode with every language model that it is not up to date for.

    Attributes:
        config: of the recipe.
        work: its folder.
        system: to decode.
        tools: workers and graphs; none: it gets some of its own.
        cost: of the process that has the workers.
        cores: all that there are.
        processes: one.
    """

    config: Config
    work: Path
    system: System
    tools: "_Tools | None" = None
    cost: Cost = LITTLE
    cores: int = OWN_WORKERS
    processes: int = 1

    @property
    def name(self) -> str:
        """For messages."""
        return self.system.name

    @property
    def path(self) -> Path:
        """One of its decodings."""
        return _folder(self.work, next(iter(self.config.lms)), self.system)

    def run(self) -> None:
        """See `jobs.Job`."""
        config, work, system = self.config, self.work, self.system
        stale = _stale(config, work, system)
        shutil.rmtree(_scores_folder(work, system), ignore_errors=True)  # of a run that was killed
        with nullcontext(self.tools) if self.tools else _tools(config, work, [system]) as tools:
            scores = _score(config, work, system, tools.pool)
            for lm, made_from in stale.items():
                with artifacts.create(_folder(work, lm, system), made_from) as folder:
                    _Decoding(config, work, system, tools.graphs[lm], scores, tools.pool).write(folder)
        # Large and soon made again: they live no longer than their system's decodings.
        shutil.rmtree(scores.folder)


@dataclass(frozen=True)
class _Tools:
    """Worker processes, and the graphs that they search, by language model."""

    pool: WorkerPool
    graphs: dict[str, "_Graph"]


@contextmanager
def _tools(config: Config, work: Path, systems: Sequence[System]) -> Iterator[_Tools]:
    """As many workers as there is memory for with any of some systems."""
    workers = _cost(config, work, systems).affordable(resolve_workers(config.workers), "decoding")
    with WorkerPool(workers) as pool:
        yield _Tools(pool, {lm: _Graph(lm, work / "align" / f"graph-{lm}", pool) for lm in config.lms})


def _cost(config: Config, work: Path, systems: Sequence[System]) -> Cost:
    """Of a worker: it keeps all graphs, and the models of one system; and scores whole utterances."""
    graphs = sum((work / "align" / f"graph-{lm}" / GRAPH_FILE).stat().st_size for lm in config.lms)
    senones = len(read_log_priors(work / "align" / "labels"))
    longest = max(int(FrameIndex.load(work / "features" / part).lengths.max()) for part in PARTS)
    scoring = [
        scoring_memory(longest, senones, stored_bytes(*system.models), len(system.models))
        for system in systems
    ]
    return Cost(max(scoring) + search_memory(graphs))


def _stale(config: Config, work: Path, system: System) -> dict[str, dict[str, Any]]:
    """What a system's decodings are made from, by the language models that it is still to be decoded with."""
    wanted = {lm: _made_from(config, work, system, lm) for lm in config.lms}
    return {
        lm: made_from
        for lm, made_from in wanted.items()
        if artifacts.find(_folder(work, lm, system), made_from) is None
    }


@dataclass(frozen=True)
class _Graph:
    lm: str
    folder: Path
    pool: WorkerPool

    @cached_property
    def columns(self) -> int:
        return count_columns(self.pool, self.folder)


@dataclass(frozen=True)
class _Scores:
    """A system's scores of every frame, and how good its posteriors were; by part."""

    folder: Path
    parameters: int
    parts: dict[str, Scored]
    quality: dict[str, PartQuality]


def _scores_folder(work: Path, system: System) -> Path:
    return work / "decode" / f".{system.name}.scores"


def _folder(work: Path, lm: str, system: System) -> Path:
    return work / "decode" / lm / system.name


def _made_from(config: Config, work: Path, system: System, lm: str) -> dict[str, Any]:
    if system.kind == "specialists":
        checked_specialists(config, work)
    data = artifacts.Artifact(work / "data")
    inputs: dict[str, artifacts.Artifact | str] = {
        "labels": artifacts.Artifact(work / "align" / "labels"),
        "graph": artifacts.Artifact(work / "align" / f"graph-{lm}"),
    }
    for part in PARTS:
        inputs[f"{part} transcripts"] = data.sha256(f"{part}.jsonl")
        inputs[f"{part} features"] = artifacts.Artifact(work / "features" / part)
    for model, mapping in zip_longest(system.models, system.mappings):
        name = model.name if model.is_relative_to(work) else str(model)
        inputs[f"model {name}"] = artifacts.Artifact(model)
        if mapping is not None:
            inputs[f"senones of {name}"] = artifacts.file_digest(mapping)
    settings = asdict(config.decode) | {"system": system.name, "kind": system.kind, "average": system.average}
    settings["precision"] = system.precision
    if system.kind == "specialists":
        settings["top"] = system.top
    if system.weights:
        settings["weights"] = system.weights
    del settings["lm"]  # decides what the report puts first, not what is decoded
    return artifacts.fingerprint("decoding", settings, inputs)


def _score(config: Config, work: Path, system: System, pool: WorkerPool) -> _Scores:
    folder = _scores_folder(work, system)
    folder.mkdir(parents=True, exist_ok=True)
    labels, device = work / "align" / "labels", resolve_device(config.device)
    parameters = load_scorer(system, labels, "cpu").parameter_count
    parts = {part: Scored(folder / f"{part}.npy", work / "features" / part) for part in PARTS}
    # Several processes on one GPU would each hold the models there and gain little.
    with WorkerPool(1) if device.type == "cuda" else nullcontext(pool) as scoring_pool:
        quality = {
            part: score_part(scoring_pool, system, scored.features, labels, scored.scores, str(device))
            for part, scored in parts.items()
        }
    return _Scores(folder, parameters, parts, quality)


class _Decoding:
    """One system with one language model: tuned on dev, frozen, applied to test once."""

    def __init__(
        self, config: Config, work: Path, system: System, graph: _Graph, scores: _Scores, pool: WorkerPool
    ) -> None:
        self._config, self._work, self._system = config, work, system
        self._graph, self._scores, self._pool = graph, scores, pool
        self._index = {part: FrameIndex.load(work / "features" / part) for part in PARTS}
        self._references = {part: read_references(work / "data" / f"{part}.jsonl") for part in PARTS}

    def write(self, folder: Path) -> None:
        tuning = tune(self._evaluate, self._config.decode)
        chosen = (tuning.acoustic_scale, tuning.beam)
        decoded = {part: self._decode(part, [chosen])[0] for part in PARTS}
        for part, hypotheses in decoded.items():
            write_transcripts(folder / f"{part}.txt", _words(hypotheses))
        metrics = self._metrics(tuning, decoded)
        _write_json(folder / "tuning.json", tuning.to_json())
        _write_json(folder / "metrics.json", metrics)
        _write_json(folder / "frames.json", {part: self._frames(part) for part in PARTS})
        test = metrics["parts"]["test"]
        say(
            f"{self._system.name}, {self._graph.lm}: WER {test['wer']:.2%} of {test['words']} words "
            f"(dev {metrics['parts']['dev']['wer']:.2%}), scale {chosen[0]}, beam {chosen[1]}"
        )

    def _evaluate(self, pairs: Sequence[tuple[float, float]]) -> list[ErrorCounts]:
        """Word errors on the tuning part of dev with pairs (acoustic scale, beam)."""
        frames = self._config.decode.tuning_seconds * 1000 / self._config.features.frame_shift_milliseconds
        decodings = self._decode("dev", pairs, tuning_part(self._index["dev"], frames))
        references = self._references["dev"]
        return [
            total(count_errors({name: references[name] for name in found}, _words(found)).values())
            for found in decodings
        ]

    def _decode(
        self, part: str, pairs: Sequence[tuple[float, float]], utterances: Sequence[int] | None = None
    ) -> list[dict[str, Hypothesis]]:
        max_active = self._config.decode.max_active
        return decode_part(
            self._pool,
            self._graph.folder,
            self._graph.columns,
            self._scores.parts[part],
            [SearchSettings(scale, beam, max_active) for scale, beam in pairs],
            f"{self._system.name}, {self._graph.lm}: decoding {part}",
            utterances,
        )

    def _metrics(self, tuning: Tuning, decoded: dict[str, dict[str, Hypothesis]]) -> dict[str, Any]:
        return {
            "system": self._system.name,
            "kind": self._system.kind,
            "lm": self._graph.lm,
            "parameters": self._scores.parameters,
            "acoustic_scale": tuning.acoustic_scale,
            "beam": tuning.beam,
            "max_active": self._config.decode.max_active,
            "parts": {part: self._part_metrics(part, hypotheses) for part, hypotheses in decoded.items()},
        }

    def _part_metrics(self, part: str, hypotheses: dict[str, Hypothesis]) -> dict[str, Any]:
        counts = total(count_errors(self._references[part], _words(hypotheses)).values())
        quality = self._scores.quality[part].total
        return {
            **asdict(counts),
            "errors": counts.errors,
            "wer": counts.wer,
            "utterances": len(hypotheses),
            "not_final": sum(not hypothesis.final for hypothesis in hypotheses.values()),
            "frames": quality.frames,
            # JSON knows no NaN: a part without labels has neither.
            "frame_accuracy": quality.accuracy if quality.frames else None,
            "cross_entropy": quality.cross_entropy if quality.frames else None,
        }

    def _frames(self, part: str) -> dict[str, Any]:
        """Frames, correct ones and summed cross entropy of every utterance, and the senones most confused."""
        quality = self._scores.quality[part]
        confused = sorted(quality.confused.items(), key=lambda item: (-item[1], item[0]))
        return {
            "utterances": {
                name: [metrics.frames, metrics.correct, metrics.summed_cross_entropy]
                for name, metrics in zip(self._index[part].ids, quality.utterances, strict=True)
            },
            "confused_senones": [[*pair, count] for pair, count in confused[:MOST_CONFUSED]],
        }


def _words(hypotheses: dict[str, Hypothesis]) -> dict[str, tuple[str, ...]]:
    return {name: hypothesis.words for name, hypothesis in hypotheses.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
