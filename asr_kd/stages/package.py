"""The verb `export-model`: a decoded system as a folder that recognises speech without torch or a recipe."""

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from asr_kd import __version__
from asr_kd.artifacts import MANIFEST, Artifact, create, fingerprint
from asr_kd.bench.material import choose_utterances, processor
from asr_kd.compression.export import export_checked
from asr_kd.compression.statistics import training_statistics
from asr_kd.config import Config
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.decoding.acoustic import read_log_priors
from asr_kd.decoding.graph import GRAPH_FILE, WORDS_FILE, load_graph, note_counts
from asr_kd.decoding.network import NETWORK_FILE
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.features.extract import Extraction, load_waveform
from asr_kd.features.store import open_part
from asr_kd.jobs import map_processes
from asr_kd.models.storage import load_model
from asr_kd.progress import say, track
from asr_kd.report.results import headline_lm
from asr_kd.runtime import Recogniser
from asr_kd.runtime.card import render_card
from asr_kd.runtime.model import (
    CARD_FILE,
    CARD_TEXT_FILE,
    FORMAT,
    PHONES_FILE,
    PRIORS_FILE,
    STATISTICS_FILE,
)
from asr_kd.runtime.word_times import PhoneMap
from asr_kd.scoring.wer import count_errors, total
from asr_kd.stages.train import dev_features, open_labels

KIND = "model folder"  # of artefacts
ONE_NETWORK = ("member", "student", "pruned", "int8")  # kinds of systems
# Of training audio that the statistics of speakers are made from, spread over all of them.
STATISTICS_SECONDS = 3600.0
CHECK_UTTERANCES = 20  # of dev, that an export is compared on


def export_model(config: Config, work: Path, name: str, to: Path, lm: str | None = None) -> None:
    """Write the model folder of one system and measure it on dev and test.

    Args:
        config: of the recipe, which has been decoded.
        work: its folder.
        name: of the system.
        to: where to write; an older model there is replaced.
        lm: a name of `lms`; none: the headline's.

    Raises:
        AsrKdError: no such system, or one of several networks; it was not decoded; `to` holds something else.
    """
    _check_target(to)
    system, lm = find_system(config, work, name), lm or headline_lm(config)
    inputs = {
        "decoding": Artifact(work / "decode" / lm / name),
        "network": Artifact(system.models[0]),
        "graph": Artifact(work / "align" / f"graph-{lm}"),
        "labels": Artifact(work / "align" / "labels"),
    }
    for artifact in inputs.values():
        artifact.verify()
    made_from = fingerprint(KIND, {"features": asdict(config.features), "system": name}, inputs)
    unmeasured = to.with_name(f".{to.name}.unmeasured")
    write_model(config, work, system, lm, unmeasured, made_from)
    # In a process of its own, whose numeric libraries have one thread each from the start.
    ((_, measured),) = map_processes(_measure, [_Measuring(unmeasured, config, work)], 1, "measuring")
    with create(to, made_from) as folder:
        for file in unmeasured.iterdir():
            if file.name not in {"manifest.json", CARD_FILE}:
                shutil.copyfile(file, folder / file.name)
        card = json.loads((unmeasured / CARD_FILE).read_text(encoding="utf-8")) | {"measured": measured}
        (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        (folder / CARD_TEXT_FILE).write_text(render_card(card), encoding="utf-8")
    shutil.rmtree(unmeasured)
    test = measured["test"]
    say(f"{to}: {name} with {lm}, WER {test['wer']:.2%}, real-time factor {test['rtf']:.4f}")


def _check_target(to: Path) -> None:
    """Refuse to replace anything but what this verb has written."""
    if to.exists() and not to.is_dir():
        raise AsrKdError(f"to={to} is a file: name an empty or a new folder")
    if to.exists() and to.samefile(Path.cwd()):
        # A finished model takes the place of the folder `to`, and nobody would stand in it.
        raise AsrKdError(f"to={to} is the current folder: name another one")
    if not to.exists() or not any(to.iterdir()):
        return
    # Not by its files: a trained network has a model.json as well.
    if not (to / MANIFEST).is_file() or Artifact(to).manifest["fingerprint"].get("kind") != KIND:
        raise AsrKdError(
            f"to={to} holds something else than an exported model: name an empty or a new folder"
        )


def find_system(config: Config, work: Path, name: str) -> System:
    """The system called `name`, which must be one network."""
    known = {system.name: system for system in recipe_systems(config, work)}
    if name not in known:
        raise AsrKdError(f"system={name}: there is no such system; there are {', '.join(known)}")
    if known[name].kind not in ONE_NETWORK:
        alone = ", ".join(system.name for system in known.values() if system.kind in ONE_NETWORK)
        raise AsrKdError(f"system={name} is not one network; choose one of {alone}")
    return known[name]


def write_model(
    config: Config, work: Path, system: System, lm: str, to: Path, made_from: dict[str, Any]
) -> None:
    """Write a model folder whose card has no measurements yet."""
    decoded = json.loads((work / "decode" / lm / system.name / "metrics.json").read_text(encoding="utf-8"))
    with create(to, made_from) as folder:
        write_network(work, system, folder / NETWORK_FILE)
        log_priors = read_log_priors(work / "align" / "labels")
        np.save(folder / PRIORS_FILE, log_priors, allow_pickle=False)
        for file in (GRAPH_FILE, WORDS_FILE):
            shutil.copyfile(work / "align" / f"graph-{lm}" / file, folder / file)
        note_counts(folder)
        _write_phones(config, work, folder)
        _write_statistics(config, work, folder, len(log_priors))
        card = {
            "format": FORMAT,
            "name": f"{config.recipe}: {system.name}",
            "kind": system.kind,
            "corpus": config.data.corpus,
            "lm": lm,
            "parameters": decoded["parameters"],
            "features": asdict(config.features),
            "sample_rate": config.data.sample_rate,
            "search": {key: decoded[key] for key in ("acoustic_scale", "beam", "max_active")},
            "decoded_wer": {part: decoded["parts"][part]["wer"] for part in ("dev", "test")},
            "version": __version__,
            "made_from": made_from["inputs"],
        }
        (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def write_network(work: Path, system: System, path: Path) -> None:
    """The system's network as ONNX: copied where it is, else exported and compared on dev."""
    (model,) = system.models
    if (model / NETWORK_FILE).is_file():
        shutil.copyfile(model / NETWORK_FILE, path)
    else:
        export_checked(load_model(model), path, dev_features(work, CHECK_UTTERANCES))


@dataclass(frozen=True)
class _Measuring:
    """What the measuring process needs."""

    folder: Path
    config: Config
    work: Path


def _measure(job: _Measuring) -> dict[str, dict[str, Any]]:
    return {part: measure(job.folder, job.config, job.work, part) for part in ("dev", "test")}


def measure(folder: Path, config: Config, work: Path, part: str) -> dict[str, Any]:
    """Recognise a part with a model folder, each utterance as of a new speaker, after a warm-up.

    The network has one thread; whoever calls sees to it that other numeric libraries have no more.
    """
    recogniser = Recogniser(folder)
    extraction = extraction_of(config)
    utterances = choose_utterances(read_manifest(work / "data" / f"{part}.jsonl"), np.inf)
    hypotheses, seconds, audio = {}, 0.0, 0.0
    list(recogniser.recognise([load_waveform(utterances[0], extraction)]))
    for utterance in track(utterances, len(utterances), "measuring"):
        samples = load_waveform(utterance, extraction)
        started = perf_counter()
        segments = list(recogniser.recognise([samples]))
        seconds += perf_counter() - started
        audio += len(samples) / config.data.sample_rate
        hypotheses[utterance.id] = [word.text for segment in segments for word in segment.words]
    counts = total(count_errors({one.id: one.words for one in utterances}, hypotheses).values())
    return {
        "wer": counts.wer,
        "errors": counts.errors,
        "words": counts.words,
        "utterances": len(utterances),
        "audio_seconds": round(audio, 1),
        "rtf": seconds / audio,
        "threads": 1,
        "processor": processor(),
        "machine": platform.machine(),
    }


def extraction_of(config: Config) -> Extraction:
    """How the recipe's features are made, on a CPU."""
    return Extraction(config.features, config.data.sample_rate, config.data.resample, "cpu", config.seed)


def _write_phones(config: Config, work: Path, folder: Path) -> None:
    """What the senones mean, where they are those of our own alignment model."""
    if config.align.hclg or not (work / "align" / "model").is_dir():
        return
    from asr_kd.hmm import GmmHmm  # here: the Kaldi wheels take long to load

    model = GmmHmm.load(work / "align" / "model")
    senones = model.hmm.senone_phones()
    recognised = set(load_graph(folder).words.values())
    lexicon = Lexicon.read(work / "data" / "lexicon.txt").restricted(recognised)
    silence = model.phones.names[model.phones.silence - 1]
    phones, first = [phones for phones, _ in senones], [starts for _, starts in senones]
    PhoneMap(phones, first, silence, lexicon.entries).write(folder / PHONES_FILE)


def _write_statistics(config: Config, work: Path, folder: Path, senones: int) -> None:
    utterances: Sequence[Utterance] = choose_utterances(
        read_manifest(work / "data" / "train.jsonl"), STATISTICS_SECONDS
    )
    part = open_part(work / "features" / "train")
    labels = open_labels(work / "align" / "labels", "train", part.index)
    training_statistics(utterances, extraction_of(config), part, labels, senones).save(
        folder / STATISTICS_FILE
    )
