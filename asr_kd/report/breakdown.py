"""Where the errors are: by speaker, word and senone; for ``report.json`` and ``report.html``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asr_kd.report.results import Results
from asr_kd.scoring.wer import by_group
from asr_kd.scoring.words import confusions, count_words

PART = "test"
ERROR_KINDS = ("substitutions", "deletions", "insertions")
MOST = 30  # rows of a list of words or senones, of each system


def by_speaker(results: Results) -> list[dict[str, Any]]:
    """Words of every speaker of test, and errors of every kind by system; sorted by speaker."""
    speakers = {utterance.id: utterance.speaker for utterance in results.utterances[PART]}
    sums = {
        entry.system.name: by_group(
            {name: alignment.counts for name, alignment in entry.alignments[PART].items()}, speakers
        )
        for entry in results.headline
    }
    first = next(iter(sums.values()))
    return [
        {
            "speaker": speaker,
            "words": first[speaker].words,
            **{
                kind: {name: getattr(counts[speaker], kind) for name, counts in sums.items()}
                for kind in ("errors", *ERROR_KINDS)
            },
        }
        for speaker in first
    ]


def confused_words(results: Results) -> dict[str, list[dict[str, Any]]]:
    """By system, the most frequent word errors: said and recognised, one of them null where there is none."""
    found = {}
    for entry in results.headline:
        pairs = confusions(entry.alignments[PART].values())
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
        found[entry.system.name] = [
            {"said": said, "recognised": recognised, "count": count}
            for (said, recognised), count in ordered[:MOST]
        ]
    return found


def missed_words(results: Results) -> dict[str, list[dict[str, Any]]]:
    """By system, the words with the most errors and what became of them."""
    found = {}
    for entry in results.headline:
        counts = count_words(entry.alignments[PART].values())

        def errors(word: str, counts: Any = counts) -> int:
            own = counts[word]
            return int(own.substitutions + own.deletions + own.insertions)

        worst = sorted((word for word in counts if errors(word)), key=lambda word: (-errors(word), word))
        found[entry.system.name] = [
            {"word": word, "errors": errors(word), **asdict(counts[word])} for word in worst[:MOST]
        ]
    return found


def confused_senones(results: Results) -> dict[str, list[dict[str, int]]]:
    """By system, the most frequent pairs of a frame's label and its most probable senone that differ."""
    return {
        entry.system.name: [
            {"label": label, "found": found, "frames": count}
            for label, found, count in entry.frames[PART]["confused_senones"][:MOST]
        ]
        for entry in results.headline
        if PART in entry.frames
    }


def confused_phones(results: Results, phones: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The stored pairs of confused senones by the phones that they belong to, of ensemble and students.

    Args:
        results: of the recipe.
        phones: the central phone of every senone; empty where it is not known.

    Returns:
        By system ``pairs`` (phone of the label, phone found, frames), the most frequent first, and the
        ``share`` of all wrong frames that they are.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in results.of_kind("ensemble", "student") if phones else []:
        counts = entry.frame_counts(PART)
        wrong = 0.0 if counts is None else float((counts[:, 0] - counts[:, 1]).sum())
        if not wrong:
            continue
        pairs: Counter[tuple[str, str]] = Counter()
        for label, most_probable, frames in entry.frames[PART]["confused_senones"]:
            pairs[phones[label], phones[most_probable]] += frames
        rows = [
            {"label": label, "found": most_probable, "frames": frames}
            for (label, most_probable), frames in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        ]
        found[entry.system.name] = {"share": pairs.total() / wrong, "pairs": rows}
    return found
