"""Stage 5, compress: smaller networks out of students, and networks in 8-bit integers."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from asr_kd.artifacts import Artifact, create, find, fingerprint
from asr_kd.compression.export import compare, export_checked
from asr_kd.compression.fine_tuning import CompressionJob, check_settings
from asr_kd.compression.quantise import check_method, quantise
from asr_kd.config import Config, PruneConfig, QuantiseConfig
from asr_kd.costs import export_memory
from asr_kd.decoding.network import NETWORK_FILE, OnnxNetwork
from asr_kd.decoding.systems import network_folder
from asr_kd.errors import AsrKdError
from asr_kd.frames import FrameIndex
from asr_kd.jobs import Cost
from asr_kd.launching import make_launcher
from asr_kd.layout import student_folder
from asr_kd.models.devices import resolve_device
from asr_kd.models.storage import load_model
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.seeding import derive_seed
from asr_kd.stages import distill
from asr_kd.stages.train import data_artifacts, dev_features
from asr_kd.stages.transfer import data_size, training_parts
from asr_kd.training.data import FrameData
from asr_kd.training.jobs import DataSize, optimiser_fingerprint, run_missing
from asr_kd.training.objectives import DistillationObjective, HardObjective, Objective

CHECK_UTTERANCES = 50  # of dev: what exports are compared on and scales are calibrated with
AGREEMENT_FILE = "export.json"


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    _check(config, work)
    for name, pruned in sorted(config.compress.pruned.items()):
        yield Wanted.by(work / "compress" / name, partial(_job, config, work, name, pruned, {}))
    for name in sorted(config.compress.int8):
        yield Wanted.by(work / "compress" / name, partial(_Int8Job, config, work, name))


def run(config: Config, work: Path) -> None:
    """Write ``compress/<name>`` for all of `compress.pruned` and `compress.int8`.

    Raises:
        AsrKdError: a setting means nothing, a network cannot be compressed so, or an export is not true.
    """
    settings = config.compress
    if not settings.pruned and not settings.int8:
        say("compress: the recipe compresses nothing")
        return
    _check(config, work)
    stores: distill.Stores = {}
    jobs = [_job(config, work, name, pruned, stores) for name, pruned in sorted(settings.pruned.items())]
    launcher = make_launcher(config)
    run_missing(jobs, launcher, "pruned networks")
    run_missing([_Int8Job(config, work, name) for name in sorted(settings.int8)], launcher, "8-bit networks")


def _check(config: Config, work: Path) -> None:
    """Refuse settings that mean nothing before anything is trained for them."""
    for name, pruned in config.compress.pruned.items():
        check_settings(name, pruned)
        if pruned.student not in config.distill.students:
            raise AsrKdError(f"compress.pruned.{name}.student={pruned.student}: there is no such student")
    for name, quantised in config.compress.int8.items():
        check_method(quantised.method)
        _source(config, work, name, quantised)


def _source(config: Config, work: Path, name: str, settings: QuantiseConfig) -> Path:
    return network_folder(config, work, settings.network, f"compress.int8.{name}.network")


def _job(
    config: Config, work: Path, name: str, settings: PruneConfig, stores: distill.Stores
) -> CompressionJob:
    inputs: dict[str, Artifact | str] = {"student": Artifact(student_folder(work, settings.student))}
    objective: Objective
    open_data: Callable[[], tuple[FrameData, FrameData]]
    data: Callable[[], DataSize] | None
    trained_for: Any
    smoothing, early_stopping = settings.optimiser.label_smoothing, True
    if settings.targets == "soft":
        student = distill.student_job(config, work, settings.student, stores)
        assert isinstance(student.objective, DistillationObjective)
        objective, open_data = replace(student.objective, label_smoothing=smoothing), student.open_data
        early_stopping, data = student.early_stopping, student.data
        inputs |= student.made_from["inputs"]
        trained_for = student.made_from["settings"]
    else:
        transfer = config.distill.students[settings.student].transfer
        parts = tuple(training_parts(config, work, transfer.views))
        objective = HardObjective(smoothing)
        open_data = partial(distill.open_transfer, work, parts, None, transfer, config.seed)
        data = partial(data_size, parts)
        inputs |= data_artifacts(work) | {part.name: Artifact(part.features) for part in parts}
        trained_for = {"labels": asdict(transfer), "seed": config.seed}
    seed = derive_seed(config.seed, "compress", name)
    content = {
        **asdict(settings),
        "optimiser": optimiser_fingerprint(settings.optimiser),
        "trained_for": trained_for,
        "seed": seed,
    }
    return CompressionJob(
        name=name,
        path=work / "compress" / name,
        made_from=fingerprint("pruned network", content, inputs),
        source=student_folder(work, settings.student),
        settings=settings,
        objective=objective,
        open_data=open_data,
        seed=seed,
        device=str(resolve_device(config.device)),
        early_stopping=early_stopping,
        data=data,
    )


@dataclass(frozen=True)
class _Int8Job:
    """A network to quantise: a job because what writes ONNX files keeps much memory.

    Attributes:
        config: of the recipe.
        work: its folder.
        name: of the result.
        cores: that it computes with.
        processes: one.
    """

    config: Config
    work: Path
    name: str
    cores: int = 1
    processes: int = 1

    @property
    def cost(self) -> Cost:
        """See `jobs.Job`."""
        model = load_model(_source(self.config, self.work, self.name, self.settings))
        longest = int(FrameIndex.load(self.work / "features" / "dev").lengths.max(initial=0))
        return Cost(export_memory(longest, model.senones, model.parameter_count))

    @property
    def settings(self) -> QuantiseConfig:
        """Of the recipe."""
        return self.config.compress.int8[self.name]

    @property
    def path(self) -> Path:
        """The artefact."""
        return self.work / "compress" / self.name

    @property
    def made_from(self) -> Mapping[str, Any]:
        """Its fingerprint."""
        network = Artifact(_source(self.config, self.work, self.name, self.settings))
        inputs = {"network": network, "dev": Artifact(self.work / "features" / "dev")}
        return fingerprint("int8 network", asdict(self.settings), inputs)

    def run(self) -> None:
        """See `jobs.Job`."""
        if find(self.path, self.made_from) is None:
            _quantise(self)


def _quantise(job: _Int8Job) -> None:
    name, settings = job.name, job.settings
    model = load_model(_source(job.config, job.work, name, settings))
    features = dev_features(job.work, CHECK_UTTERANCES)
    with create(job.path, job.made_from) as folder:
        whole = folder / ".float32.onnx"
        exported = export_checked(model, whole, features)
        quantise(whole, folder / NETWORK_FILE, settings.method, features)
        found = compare(model, OnnxNetwork(folder / NETWORK_FILE), features)
        if not math.isfinite(found.divergence):
            raise AsrKdError(f"{name}: posteriors that are not finite numbers; choose another method")
        content = {"float32": asdict(exported), "int8": asdict(found), "method": settings.method}
        (folder / AGREEMENT_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        size, before = (folder / NETWORK_FILE).stat().st_size, whole.stat().st_size
    say(
        f"{name}: {size / 1e6:.2f} MB of {before / 1e6:.2f}, divergence from {settings.network} "
        f"{found.divergence:.2g} nats a frame, the same best senone in {found.same_best:.2%} of frames"
    )
