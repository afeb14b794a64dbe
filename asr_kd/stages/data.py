"""Stage 0: from a corpus to validated manifests, lexicons and language-model text."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asr_kd import artifacts
from asr_kd.artifacts import Artifact
from asr_kd.config import Config
from asr_kd.corpus import pronounce, vocabulary
from asr_kd.corpus import validate as validation
from asr_kd.corpus.arpa import arpa_words, write_clean_arpa
from asr_kd.corpus.digests import audio_digests
from asr_kd.corpus.kaldi import write_data_dir
from asr_kd.corpus.manifest import Utterance, read_manifest, write_manifest
from asr_kd.corpus.validate import Problem
from asr_kd.errors import AsrKdError
from asr_kd.features.fbank import count_frames
from asr_kd.hmm.topology import PHONE_STATES
from asr_kd.jobs import resolve_workers
from asr_kd.planning import Wanted
from asr_kd.progress import say
from asr_kd.stages import given_frames
from asr_kd.stages.source import PARTS, Source, load_source

PROBLEMS_FILE = "data-problems.txt"
WARNINGS_FILE = "data-warnings.txt"
DIGESTS_FILE = ".audio-digests.json"


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`; of labelled frames what later stages would."""
    if given_frames.is_given(config):
        yield from given_frames.plan(config, work)
        return

    def made_from() -> dict[str, Any]:
        source = load_source(config)
        return _made_from(source, config, _digests(source, config, work))

    yield Wanted(work / "data", made_from)


def run(config: Config, work: Path) -> None:
    """Write ``<work>/data, or find that it is up to date; labelled frames go on to later stages' folders.

    Raises:
        AsrKdError: the corpus cannot be found or read, or has problems that the settings do not allow.
    """
    if given_frames.is_given(config):
        given_frames.run(config, work)
        return
    source = load_source(config)
    digests = _digests(source, config, work)
    made_from = _made_from(source, config, digests)
    if artifacts.find(work / "data", made_from):
        say("data: up to date")
        return
    parts, problems = _problems(source, config)
    lasting = [problem for problem in problems if config.data.invalid == "refuse" or not problem.utterance]
    skippable = lasting and all(problem.utterance for problem in lasting)
    advice = "; data.invalid=skip leaves such utterances out" if skippable else ""
    validation.refuse(lasting, work / PROBLEMS_FILE, advice)
    parts = validation.without(parts, problems)
    if emptied := [part for part in PARTS if not parts[part]]:
        raise AsrKdError(f"no valid utterance is left in {' and '.join(emptied)}: {problems[0]}")
    words = _vocabulary(source, parts, _modelled_words(source))
    validation.warn(_warnings(source, parts, words, config), work / WARNINGS_FILE)
    summary = _summary(parts, words, problems)
    with artifacts.create(work / "data", made_from) as folder:
        for part in PARTS:
            write_manifest(folder / f"{part}.jsonl", parts[part])
            # A manifest does not change with the content of the audio; what is made of it has to.
            contents = sorted((utterance.id, digests[utterance.audio]) for utterance in parts[part])
            _write_lines(folder / f"{part}_audio.txt", map(" ".join, contents))
        words.decoding.write(folder / "lexicon.txt")
        words.alignment.write(folder / "lexicon_align.txt")
        _write_lines(folder / "lm_text.txt", source.sentences)
        for name, path in source.arpas.items():
            write_clean_arpa(path, folder / f"{name}.arpa")
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _report(summary)


def find_problems(config: Config) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the recipe's corpus, and what deserves a look.

    Writes nothing but what a download leaves.

    Raises:
        AsrKdError: the corpus cannot be found or read at all.
    """
    source = load_source(config)
    parts, problems = _problems(source, config)
    valid = validation.without(parts, problems)
    modelled = _modelled_words(source)
    try:
        warnings = _warnings(source, valid, _vocabulary(source, valid, modelled), config)
    except AsrKdError as error:
        unspoken = any(problem.kind == "missing word" for problem in problems)
        return [*problems, *([] if unspoken else [Problem("missing word", str(error))])], []
    return problems, warnings


def validate(config: Config) -> None:
    """Check the recipe's corpus and say what is wrong with it, after what deserves a look.

    Raises:
        AsrKdError: it has problems; the first are shown, all are in ``<work>/data-problems.txt``.
    """
    problems, warnings = find_problems(config)
    validation.warn(warnings, Path(config.work) / WARNINGS_FILE)
    validation.refuse(problems, Path(config.work) / PROBLEMS_FILE)
    say(f"{config.recipe}: the corpus is valid")


def export_data(work: Path, folder: Path) -> None:
    """Write ``<part>/`` of train, dev and test as Kaldi data directories.

    Raises:
        AsrKdError: stage data has not finished.
    """
    data = Artifact(work / "data")
    data.verify()
    for part in PARTS:
        utterances = read_manifest(data / f"{part}.jsonl")
        renamed = write_data_dir(utterances, folder / part)
        note = f", {renamed} of them renamed <speaker>-<id>, as Kaldi sorts" if renamed else ""
        say(f"{folder / part}: {len(utterances)} utterances{note}")


def _digests(source: Source, config: Config, work: Path) -> dict[str, str]:
    """The SHA-256 of every audio file."""
    files = [utterance.audio for part in PARTS for utterance in source.parts[part]]
    return audio_digests(files, work / DIGESTS_FILE, resolve_workers(config.workers))


def _made_from(source: Source, config: Config, digests: Mapping[str, str]) -> dict[str, Any]:
    """The fingerprint of stage 0: transcripts, the content of the audio, lexicon and texts."""
    everything = [(part, utterance) for part in PARTS for utterance in source.parts[part]]
    lexicon = source.corpus.lexicon
    settings = config.data
    inputs: dict[str, Artifact | str] = {
        "utterances": _hash([part, asdict(item), digests[item.audio]] for part, item in everything),
        "lexicon": _hash(sorted(lexicon.entries.items())) if lexicon else "cmudict",
        "sentences": _hash(source.sentences),
        **{f"arpa.{name}": artifacts.file_digest(path) for name, path in source.arpas.items()},
    }
    return artifacts.fingerprint(
        "data",
        {
            "sample_rate": settings.sample_rate,
            "resample": settings.resample,
            "frame_shift_milliseconds": config.features.frame_shift_milliseconds,
            "missing_words": settings.missing_words,
            "invalid": settings.invalid,
            "whole_lexicon": source.corpus.whole_lexicon,
            "decoded_arpas": [name for name, path in source.arpas.items() if path in source.decoded_arpas],
            "pronunciations": pronounce.versions(),
        },
        inputs,
    )


def _problems(source: Source, config: Config) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """The utterances with their durations, and everything that is wrong."""
    settings = config.data
    problems = validation.check_manifests(source.parts)
    lexicon = source.corpus.lexicon
    if settings.missing_words == "refuse" or pronounce.foreign_phones(lexicon):
        if lexicon is None:
            words = vocabulary.text_words(source.parts, PARTS, source.sentences)
            lexicon = pronounce.from_dictionary(words)
        problems += validation.check_words(source.parts, source.sentences, lexicon)
    parts, broken = validation.check_audio(
        source.parts, settings.sample_rate, settings.resample, resolve_workers(config.workers)
    )
    return parts, problems + broken + validation.check_frames(parts, frame_counter(config))


def _modelled_words(source: Source) -> set[str]:
    """The words of the given language models that the recipe decodes with."""
    return set().union(*(arpa_words(path) for path in source.decoded_arpas))


def _vocabulary(
    source: Source, parts: dict[str, list[Utterance]], modelled: set[str]
) -> vocabulary.Vocabulary:
    corpus = source.corpus
    return vocabulary.build(parts, source.sentences, corpus.lexicon, corpus.whole_lexicon, modelled)


def _warnings(
    source: Source, parts: dict[str, list[Utterance]], words: vocabulary.Vocabulary, config: Config
) -> list[Problem]:
    """What deserves a look."""
    short = validation.check_transcript_lengths(parts, frame_counter(config), words.alignment, PHONE_STATES)
    return short + validation.pronounced_words(words.completion, source.corpus.lexicon)


def frame_counter(config: Config) -> Callable[[float], int]:
    """Counts the frames of so many seconds."""
    rate = config.data.sample_rate
    return lambda seconds: count_frames(round(seconds * rate), config.features, rate)


def _summary(
    parts: dict[str, list[Utterance]], words: vocabulary.Vocabulary, problems: list[Problem]
) -> dict[str, Any]:
    return {
        "parts": {
            part: {
                "utterances": len(utterances),
                "speakers": len({utterance.speaker for utterance in utterances}),
                "hours": round(sum(item.duration_seconds or 0.0 for item in utterances) / 3600, 4),
                "words": sum(len(utterance.words) for utterance in utterances),
                "out_of_vocabulary": vocabulary.out_of_vocabulary(utterances, words.decoding),
            }
            for part, utterances in parts.items()
        },
        "vocabulary": len(words.decoding.entries),
        "phones": words.alignment.phones,
        "pronounced": {
            "from_cmudict": len(words.completion.from_dictionary),
            "by_rule": words.completion.by_rule,
        },
        "arpa_words_without_pronunciation": len(words.dropped),
        "skipped": [str(problem) for problem in problems],
    }


def _report(summary: dict[str, Any]) -> None:
    for part, content in summary["parts"].items():
        unknown = content["out_of_vocabulary"]
        say(
            f"data: {part}: {content['utterances']} utterances of {content['speakers']} speakers, "
            f"{content['hours']:.2f} hours, {content['words']} words, "
            f"{unknown['tokens']} ({unknown['percent']} %) of them not in the vocabulary"
        )
    pronounced = summary["pronounced"]
    say(
        f"data: vocabulary of {summary['vocabulary']} words; pronunciations not in the lexicon: "
        f"{pronounced['from_cmudict']} from cmudict, {len(pronounced['by_rule'])} by rule"
    )
    if summary["skipped"]:
        say(
            f"data: utterances left out for {len(summary['skipped'])} problems, which data/summary.json lists"
        )


def _hash(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
