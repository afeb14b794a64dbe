"""Stage 2, align: the alignment model, senone labels and priors, language models and decoding graphs."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import Artifact, create, file_digest, find, fingerprint, hash_json, replace_file
from asr_kd.config import Config
from asr_kd.config.schema import LmConfig
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.decoding.graph import GRAPH_FILE, WORDS_FILE, load_graph
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.frames import open_frames
from asr_kd.hmm import GmmHmm, train_gmm_hmm
from asr_kd.hmm.definition import STRUCTURE_FILES
from asr_kd.hmm.labels import find_labels, place_labels, read_labels, utterance_labels, write_labels
from asr_kd.jobs import resolve_workers
from asr_kd.lang import build_graph, train_arpa
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.stages import given_frames, realignment
from asr_kd.stages.realignment import PARTS

TRANSFORMS = ("deltas", "lda_mllt")


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    if given_frames.is_given(config):
        return
    align, rounds = work / "align", config.align.realign.rounds
    first = realignment.labels_folder(work, 0, rounds)
    if config.align.hclg:
        for name in config.lms:
            yield Wanted(
                align / f"graph-{name}",
                partial(_copied_graph_made_from, Path(config.align.hclg).expanduser()),
            )
        yield Wanted(first, partial(_imported_made_from, config, work, None))
        return
    model = Artifact(align / "model")
    yield Wanted(model.path, partial(_model_made_from, config, work))
    labels = partial(_imported_made_from, config) if config.align.labels else _labels_made_from
    yield Wanted(first, partial(labels, work, model))
    for number in range(1, rounds + 1):
        yield from realignment.plan_round(config, work, model, number, partial(_alignment_inputs, work))
    for name, lm in config.lms.items():
        yield Wanted(align / f"graph-{name}", partial(_graph_made_from, config, work, model, name, lm))


def run(config: Config, work: Path) -> None:
    """Write ``align/model``, ``align/labels`` and one ``align/graph-<lm>`` for each language model.

    Labels made elsewhere (``align.labels``) are taken instead of the model's own. If they count the senones
    of this recipe's model, exported before, its graphs fit; else ``align.hclg`` names the graph that they
    belong to, and no alignment model is trained.

    Raises:
        AsrKdError: settings that exclude each other, or whatever training, import or graphs find wrong.
    """
    if given_frames.is_given(config):
        say("align: the corpus gives the labels")
        return
    _check(config)
    if config.align.hclg:
        _check_foreign(config)
        for name in config.lms:
            _copy_graph(work, name, Path(config.align.hclg).expanduser())
        _import_labels(config, work, None)
        return
    model = _make_model(config, work)
    rounds = config.align.realign.rounds
    first = realignment.labels_folder(work, 0, rounds)
    if config.align.labels:
        _import_labels(config, work, model)
    else:
        _make_labels(config, work, model, first)
    for number in range(1, rounds + 1):
        realignment.run_round(config, work, model, number, _alignment_inputs(work))
    for name, lm in config.lms.items():
        _make_graph(config, work, model, name, lm)


def export_labels(work: Path, folder: Path, suffix: str = ".txt") -> None:
    """Write the labels of every part as ``<part>.txt`` (or ``.ark``) of pdf-ids, for Kaldi or `align.labels`.

    Raises:
        AsrKdError: there are no labels yet.
    """
    labels = Artifact(work / "align" / "labels")
    labels.verify()
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        index = open_part(work / "features" / part).index
        flat = open_frames(labels / f"{part}.npy", index)
        with replace_file(folder / f"{part}{suffix}") as temporary:
            write_labels(temporary, utterance_labels(index, flat))
    say(f"labels of {', '.join(PARTS)}: {folder}")


def _check(config: Config) -> None:
    gmm = config.align.gmm
    if min(gmm.monophone_passes, gmm.triphone_passes) < 1:
        raise AsrKdError("align.gmm.monophone_passes and align.gmm.triphone_passes: give at least 1")
    if gmm.transform not in TRANSFORMS:
        raise AsrKdError(f"align.gmm.transform={gmm.transform}: give one of {', '.join(TRANSFORMS)}")
    if gmm.dimensions < 1:
        raise AsrKdError(f"align.gmm.dimensions={gmm.dimensions}: give at least 1")
    if config.align.realign.rounds < 0:
        raise AsrKdError(f"align.realign.rounds={config.align.realign.rounds}: give 0 for none, or more")


def _check_foreign(config: Config) -> None:
    if not config.align.labels:
        raise AsrKdError("align.hclg is the graph of another model: give its labels as well (align.labels)")
    if config.align.realign.rounds:
        raise AsrKdError(
            "align.realign needs the alignment model, which align.hclg does without; set rounds=0"
        )
    if len(config.lms) != 1:
        raise AsrKdError(f"align.hclg brings one graph: keep one of `lms`, not {', '.join(config.lms)}")


def _model_made_from(config: Config, work: Path) -> dict[str, Any]:
    transcripts, lexicon = realignment.transcripts(work, "train"), realignment.alignment_lexicon(work)
    words = {word for sentence in transcripts.values() for word in sentence}
    inputs: dict[str, Artifact | str] = {
        "features": Artifact(work / "features" / "train"),
        "transcripts": hash_json(transcripts),
        "pronunciations": hash_json(lexicon.restricted(words).entries),
        "phones": hash_json(lexicon.phones),
    }
    return fingerprint("alignment model", {"gmm": asdict(config.align.gmm), "seed": config.seed}, inputs)


def _make_model(config: Config, work: Path) -> Artifact:
    path, made_from = work / "align" / "model", _model_made_from(config, work)
    if found := find(path, made_from):
        say("alignment model: up to date")
        return found
    part = open_part(work / "features" / "train")
    transcripts, lexicon = realignment.transcripts(work, "train"), realignment.alignment_lexicon(work)
    workers = resolve_workers(config.workers)
    with create(path, made_from) as folder:
        model = train_gmm_hmm(
            config.align.gmm, part.index, part.mfcc, transcripts, lexicon, config.seed, workers, folder
        )
        model.save(folder)
    say(f"alignment model: {model.senones} senones")
    return Artifact(path)


def _alignment_inputs(work: Path) -> dict[str, Artifact | str]:
    """What every alignment is made from beside the model: features, transcripts, pronunciations."""
    lexicon = realignment.alignment_lexicon(work)
    texts = {part: realignment.transcripts(work, part) for part in PARTS}
    words = {word for text in texts.values() for sentence in text.values() for word in sentence}
    return {
        **{part: Artifact(work / "features" / part) for part in PARTS},
        "transcripts": hash_json(texts),
        "pronunciations": hash_json(lexicon.restricted(words).entries),
    }


def _labels_made_from(work: Path, model: Artifact) -> dict[str, Any]:
    return fingerprint("labels", {}, {**_alignment_inputs(work), "model": model})


def _make_labels(config: Config, work: Path, model: Artifact, path: Path) -> None:
    """Align all parts with the GMM-HMM; dev and test only get labels, the model never learnt from them."""
    made_from = _labels_made_from(work, model)
    if find(path, made_from) is not None:
        say("labels: up to date")
        return
    gmm, lexicon = GmmHmm.load(model.path), realignment.alignment_lexicon(work)
    workers = resolve_workers(config.workers)
    failed: dict[str, list[str]] = {}
    with create(path, made_from) as folder:
        for part in PARTS:
            features, text = open_part(work / "features" / part), realignment.transcripts(work, part)
            labels = realignment.new_labels(folder, part, features.index)
            _, failed[part] = gmm.align(features.index, features.mfcc, text, lexicon, workers, labels)
        realignment.describe_labels(folder, failed, gmm.senones)


def _label_files(config: Config) -> dict[str, Path]:
    source = Path(config.align.labels or "").expanduser()
    return {part: find_labels(source, part) for part in PARTS}


def _imported_made_from(config: Config, work: Path, model: Artifact | None) -> dict[str, Any]:
    inputs: dict[str, Artifact | str] = {
        **{part: Artifact(work / "features" / part) for part in PARTS},
        **{f"{part} labels": file_digest(file) for part, file in _label_files(config).items()},
        "senones of": model or Artifact(work / "align" / f"graph-{next(iter(config.lms))}"),
    }
    return fingerprint("imported labels", {}, inputs)


def _import_labels(config: Config, work: Path, model: Artifact | None) -> None:
    """Take labels from ``align.labels``; without `model` the graph says how many senones there are."""
    path, files = realignment.labels_folder(work, 0, config.align.realign.rounds), _label_files(config)
    made_from = _imported_made_from(config, work, model)
    if find(path, made_from) is not None:
        say("labels: up to date")
        return
    imported = {
        part: place_labels(open_part(work / "features" / part).index, read_labels(file))
        for part, file in files.items()
    }
    senones = GmmHmm.load(model.path).senones if model else _senones_of_graph(work, config)
    for part, (labels, missing) in imported.items():
        if labels.max() >= senones:
            raise AsrKdError(
                f"{files[part]}: pdf-id {labels.max()}, but the graph knows {senones} senones; these labels "
                "belong to another model: give its graph (align.hclg)"
            )
        if len(missing) == len(open_part(work / "features" / part).index):
            raise AsrKdError(f"{files[part]} has labels of no utterance of {part}, e.g. of {missing[0]}")
    with create(path, made_from) as folder:
        for part, (labels, _) in imported.items():
            np.save(folder / f"{part}.npy", labels, allow_pickle=False)
        realignment.describe_labels(folder, {part: ids for part, (_, ids) in imported.items()}, senones)


def _senones_of_graph(work: Path, config: Config) -> int:
    return load_graph(work / "align" / f"graph-{next(iter(config.lms))}").highest_input_label


def _graph_made_from(config: Config, work: Path, model: Artifact, name: str, lm: LmConfig) -> dict[str, Any]:
    data = Artifact(work / "data")
    # The densities of the model are not part of a graph.
    inputs = {file: model.sha256(file) for file in STRUCTURE_FILES}
    inputs["lexicon"] = data.sha256("lexicon.txt")
    inputs |= _lm_inputs(work, name, lm, data)
    training = None if lm.arpa else {"order": lm.order, "prune": lm.prune}
    settings = {"training": training, "silence_probability": config.align.gmm.silence_probability}
    return fingerprint("graph", settings, inputs)


def _make_graph(config: Config, work: Path, model: Artifact, name: str, lm: LmConfig) -> None:
    path, silence = work / "align" / f"graph-{name}", config.align.gmm.silence_probability
    made_from = _graph_made_from(config, work, model, name, lm)
    if find(path, made_from) is not None:
        say(f"graph {name}: up to date")
        return
    lexicon = Lexicon.read(work / "data" / "lexicon.txt")
    with create(path, made_from) as folder:
        arpa = folder / "G.arpa"
        if lm.arpa is None:
            train_arpa(_sentences(work, lm), lm.order, arpa, lexicon.entries.keys(), lm.prune)
        else:
            shutil.copyfile(_given_arpa(work, name, lm), arpa)
        size = build_graph(GmmHmm.load(model.path), lexicon, arpa, folder, silence)
        (folder / "summary.json").write_text(json.dumps(asdict(size), indent=1) + "\n", encoding="utf-8")
    say(f"graph {name}: {size.words:,} words, {size.states:,} states, {size.arcs:,} arcs")


def _lm_inputs(work: Path, name: str, lm: LmConfig, data: Artifact) -> dict[str, str]:
    if lm.arpa is not None:
        return {"arpa": data.sha256(_given_arpa(work, name, lm).name)}
    inputs = {"transcripts": hash_json(list(realignment.transcripts(work, "train").values()))}
    return inputs | ({"text": data.sha256("lm_text.txt")} if lm.extra_text else {})


def _given_arpa(work: Path, name: str, lm: LmConfig) -> Path:
    """Stage data stores a corpus' models under their names, and the user's under the name in `lms`."""
    for candidate in (f"{lm.arpa}.arpa", f"{name}.arpa"):
        if "/" not in candidate and (path := work / "data" / candidate).is_file():
            return path
    raise AsrKdError(f"lms.{name}.arpa={lm.arpa} is not among the data; run stage data")


def _sentences(work: Path, lm: LmConfig) -> list[list[str]]:
    sentences = list(realignment.transcripts(work, "train").values())
    if lm.extra_text:
        text = (work / "data" / "lm_text.txt").read_text(encoding="utf-8")
        sentences += [line.split() for line in text.splitlines()]
    return sentences


def _copied_graph_made_from(source: Path) -> dict[str, Any]:
    for file in (GRAPH_FILE, WORDS_FILE):
        if not (source / file).is_file():
            raise AsrKdError(f"align.hclg={source} should hold {file}")
    inputs = {file: file_digest(source / file) for file in (GRAPH_FILE, WORDS_FILE)}
    return fingerprint("imported graph", {}, inputs)


def _copy_graph(work: Path, name: str, source: Path) -> None:
    """Take a graph made elsewhere: input labels pdf-id + 1, output labels as in its words.txt."""
    path, made_from = work / "align" / f"graph-{name}", _copied_graph_made_from(source)
    if find(path, made_from) is not None:
        say(f"graph {name}: up to date")
        return
    load_graph(source)
    with create(path, made_from) as folder:
        for file in (GRAPH_FILE, WORDS_FILE):
            shutil.copyfile(source / file, folder / file)
