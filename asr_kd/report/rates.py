"""Word error rates with their intervals, for ``report.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from asr_kd.report.results import PARTS, Decoded, Results
from asr_kd.scoring.words import out_of_vocabulary
from asr_kd.seeding import generator
from asr_kd.significance.bootstrap import Interval, gap_closed_interval
from asr_kd.significance.comparison import BY_SPEAKER, BY_UTTERANCE, rate_intervals

_OTHERS = ("utterances", "not_final")
FRAME_MEASURES = {"frame_accuracy": True, "cross_entropy": False}  # whether more is better


def error_rates(seed: int, results: Results, lm: str) -> dict[str, dict[str, Any]]:
    """By system (and ``mean_single``) and part: WER, counts, intervals, words outside the vocabulary."""
    entries = results.decoded[lm]
    rates: dict[str, dict[str, Any]] = {}
    for entry in entries:
        rates[entry.system.name] = {}
        for part in PARTS:
            known = out_of_vocabulary(entry.alignments[part].values(), results.vocabulary[lm])
            rates[entry.system.name][part] = {
                **_counts(entry, part),
                **_intervals(seed, results, part, entry.errors(part)),
                "out_of_vocabulary": known.to_json(),
            }
    rates["mean_single"] = {}
    for part in PARTS:
        members = np.stack([entries[place].errors(part) for place in results.members])
        words = int(results.test_sets[part].words.sum())
        errors = float(members.sum() / len(members))
        rates["mean_single"][part] = {
            "wer": errors / words,
            "errors": errors,
            "words": words,
            **_intervals(seed, results, part, members.sum(axis=0), len(members)),
        }
    return rates


def _intervals(
    seed: int, results: Results, part: str, errors: np.ndarray, systems: int = 1
) -> dict[str, dict[str, Any] | None]:
    # Of the seed and the part alone: the same errors have the same interval, whatever else was decoded.
    random = generator(seed, "report", "wer", part)
    test_set = results.test_sets[part]
    return intervals_json(test_set.by, rate_intervals(test_set, errors, random, systems))


def _counts(entry: Decoded, part: str) -> dict[str, Any]:
    """Summed from the alignments, so that all parts of the report agree."""
    known = entry.metrics["parts"][part]
    counts = [alignment.counts for alignment in entry.alignments[part].values()]
    summed = {
        name: sum(getattr(count, name) for count in counts)
        for name in ("errors", "words", "substitutions", "deletions", "insertions")
    }
    return {"wer": summed["errors"] / summed["words"], **summed} | {name: known[name] for name in _OTHERS}


def mean_single(results: Results, headline: dict[str, Any]) -> dict[str, Any]:
    """The members' mean: what one network alone is worth."""
    members = [results.headline[place] for place in results.members]
    metrics = {}
    for part in PARTS:
        known = [entry.metrics["parts"][part] for entry in members]
        frames = {name: _mean([row[name] for row in known]) for name in FRAME_MEASURES}
        metrics[part] = headline["mean_single"][part] | frames
    return {"members": [entry.system.name for entry in members], "metrics": metrics}


def gaps(seed: int, results: Results, single: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How much of the ensemble's gain on test each student keeps, by measure of frames."""
    ensembles = results.of_kind("ensemble")
    if not ensembles:
        nothing = dict.fromkeys(FRAME_MEASURES)
        either = {"by": results.test_sets["test"].by, "by_utterance": None, "by_speaker": None}
        unknown = {**nothing, "intervals": nothing, **either}
        return {student.system.name: unknown for student in results.of_kind("student")}
    ensemble = ensembles[0]
    return {
        student.system.name: {
            **{
                name: gap_closed(
                    student.metrics["parts"]["test"][name],
                    single["metrics"]["test"][name],
                    ensemble.metrics["parts"]["test"][name],
                    more_is_better,
                )
                for name, more_is_better in FRAME_MEASURES.items()
            },
            **_gap_intervals(seed, results, student, ensemble),
        }
        for student in results.of_kind("student")
    }


def gap_closed(
    student: float | None, single: float | None, ensemble: float | None, more_is_better: bool
) -> float | None:
    """(student - single) / (ensemble - single); none where a value or the gain is missing."""
    if student is None or single is None or ensemble is None:
        return None
    gain = ensemble - single if more_is_better else single - ensemble
    return (student - single) / (ensemble - single) if gain > 0 else None


def _gap_intervals(seed: int, results: Results, student: Decoded, ensemble: Decoded) -> dict[str, Any]:
    """``intervals`` by the unit of the test set, and by either unit; None where there is but one of it."""
    test_set = results.test_sets["test"]
    found = {
        unit: _gap_intervals_by(unit, seed, results, student, ensemble) if count > 1 else None
        for unit, count in ((BY_UTTERANCE, len(test_set.words)), (BY_SPEAKER, test_set.speaker_count))
    }
    either = {f"by_{unit}": intervals for unit, intervals in found.items()}
    return {"by": test_set.by, "intervals": found[test_set.by] or dict.fromkeys(FRAME_MEASURES), **either}


def _gap_intervals_by(
    by: str, seed: int, results: Results, student: Decoded, ensemble: Decoded
) -> dict[str, dict[str, Any] | None]:
    members = [results.headline[place].frame_counts("test") for place in results.members]
    found: dict[str, dict[str, Any] | None] = {}
    counts = [student.frame_counts("test"), ensemble.frame_counts("test"), *members]
    if any(one is None for one in counts):
        return dict.fromkeys(FRAME_MEASURES)
    by_unit = [results.test_sets["test"].units(np.asarray(one), by) for one in counts]
    single = np.mean(by_unit[2:], axis=0)
    # Smaller is better: wrong frames, summed cross entropy.
    losses = {"frame_accuracy": np.array([1, -1, 0]), "cross_entropy": np.array([0, 0, 1])}
    for name, weights in losses.items():
        closed = gap_closed_interval(
            by_unit[0] @ weights,
            single @ weights,
            by_unit[1] @ weights,
            by_unit[0][:, 0],
            generator(seed, "report", "gap", student.system.name, name),
        )
        found[name] = interval_json(closed)
    return found


def intervals_json(by: str, found: Mapping[str, Interval | None]) -> dict[str, dict[str, Any] | None]:
    """The interval of a WER by the unit that its test set is resampled by, and by either unit."""
    either = {f"by_{unit}": interval_json(around) for unit, around in found.items()}
    return {"interval": interval_json(found[by], by=by), **either}


def interval_json(found: Interval | None, **further: Any) -> dict[str, Any] | None:
    """The ends of an interval and what is further said of it; None where there is none."""
    return {"low": found.low, "high": found.high, **further} if found else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
