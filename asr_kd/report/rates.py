"""Word error rates with their intervals, for ``report.json``."""

from typing import Any

import numpy as np

from asr_kd.report.results import PARTS, Decoded, Results
from asr_kd.scoring.words import out_of_vocabulary
from asr_kd.seeding import generator
from asr_kd.significance.bootstrap import Interval, bootstrap_rates, gap_closed_interval, interval

_OTHERS = ("utterances", "not_final")
FRAME_MEASURES = {"frame_accuracy": True, "cross_entropy": False}  # whether more is better


def error_rates(seed: int, results: Results, lm: str) -> dict[str, dict[str, Any]]:
    """By system (and ``mean_single``) and part: WER, counts, interval, words outside the vocabulary."""
    entries = results.decoded[lm]
    names = [entry.system.name for entry in entries]
    rates: dict[str, dict[str, Any]] = {name: {} for name in (*names, "mean_single")}
    for part in PARTS:
        test_set = results.test_sets[part]
        by = test_set.by
        words = test_set.units(test_set.words, by)
        errors = test_set.units(np.stack([entry.errors(part) for entry in entries], axis=1), by)
        samples = bootstrap_rates(errors, words, generator(seed, "report", lm, part))
        for place, entry in enumerate(entries):
            counts = _counts(entry, part)
            found = interval(counts["wer"], samples[:, place], len(words))
            known = out_of_vocabulary(entry.alignments[part].values(), results.vocabulary[lm])
            rates[entry.system.name][part] = counts | {
                "interval": interval_json(found, by=by),
                "out_of_vocabulary": known.to_json(),
            }
        members = errors[:, results.members]
        mean = float(members.sum() / members.shape[1])
        wer = mean / float(words.sum())
        found = interval(wer, samples[:, results.members].mean(axis=1), len(words))
        rates["mean_single"][part] = {
            "wer": wer,
            "errors": mean,
            "words": int(words.sum()),
            "interval": interval_json(found, by=by),
        }
    return rates


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
        return {
            student.system.name: {**nothing, "intervals": dict(nothing)}
            for student in results.of_kind("student")
        }
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
            "intervals": _gap_intervals(seed, results, student, ensemble),
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


def _gap_intervals(
    seed: int, results: Results, student: Decoded, ensemble: Decoded
) -> dict[str, dict[str, Any] | None]:
    members = [results.headline[place].frame_counts("test") for place in results.members]
    test_set = results.test_sets["test"]
    found: dict[str, dict[str, Any] | None] = {}
    counts = [student.frame_counts("test"), ensemble.frame_counts("test"), *members]
    if any(one is None for one in counts):
        return dict.fromkeys(FRAME_MEASURES)
    by_unit = [test_set.units(np.asarray(one), test_set.by) for one in counts]
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


def interval_json(found: Interval | None, **further: Any) -> dict[str, Any] | None:
    """The ends of an interval and what is further said of it; None where there is none."""
    return {"low": found.low, "high": found.high, **further} if found else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
