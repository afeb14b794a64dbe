"""Who is better than whom, for ``report.json``: against the mean single network, and system by system."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from asr_kd.report.rates import interval_json
from asr_kd.report.results import Decoded, Results
from asr_kd.seeding import generator
from asr_kd.significance.comparison import Comparison, compare
from asr_kd.significance.multiple import holm
from asr_kd.significance.power import cautions

PART = "test"


def comparisons(seed: int, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Compare on test; all lists are empty where test is but one utterance.

    Returns:
        ``comparisons``: ensemble, specialists and students against the mean single network. ``pairs``:
        students against the ensemble. ``compressed``: what was made of students against the ensemble, where
        there is none against the mean single network. The p values of the first two are corrected for being
        one family of tests, those of the third for being another.
    """
    ensemble = next(iter(results.of_kind("ensemble")), None)
    against_mean = _statistics(
        seed, results, [(entry, None) for entry in results.of_kind("ensemble", "specialists", "student")]
    )
    students = results.of_kind("student") if ensemble else []
    pairs = _statistics(seed, results, [(entry, ensemble) for entry in students])
    compressed = _statistics(
        seed, results, [(entry, ensemble) for entry in results.of_kind("pruned", "int8")]
    )
    for family in ([*against_mean, *pairs], compressed):
        tests = [entry["mapsswe"] for entry in family if "mapsswe" in entry]
        for kind in (family, tests):
            for entry, adjusted in zip(kind, holm([entry["p"] for entry in kind]), strict=True):
                entry["p_holm"] = adjusted
    return {"comparisons": against_mean, "pairs": pairs, "compressed": compressed}


def report_cautions(results: Results, found: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Why this test part's statistics should be read with care; `found` by `comparisons`."""
    test_set = results.test_sets[PART]
    tests = [entry["mapsswe"] for entries in found.values() for entry in entries if "mapsswe" in entry]
    segments = min((test["segments"] for test in tests), default=None)
    return cautions(len(test_set.words), test_set.speaker_count, segments)


def _statistics(
    seed: int, results: Results, pairs: Sequence[tuple[Decoded, Decoded | None]]
) -> list[dict[str, Any]]:
    """Systems with their baselines, None for the mean single network."""
    found = [
        _pair(seed, results, entry, baseline) if baseline else _against_mean(seed, results, entry)
        for entry, baseline in pairs
    ]
    return [one for one in found if one is not None]


def _against_mean(seed: int, results: Results, entry: Decoded) -> dict[str, Any] | None:
    members = np.stack([results.headline[place].errors(PART) for place in results.members], axis=1)
    errors = entry.errors(PART)
    found = compare(
        results.test_sets[PART],
        errors,
        members.sum(axis=1),
        generator(seed, "report", "comparison", entry.system.name),
        baseline_systems=members.shape[1],
    )
    counts = (int(errors.sum()), float(members.sum() / members.shape[1]))
    return comparison_json(entry.system.name, "mean_single", counts, results, found) if found else None


def _pair(seed: int, results: Results, entry: Decoded, baseline: Decoded) -> dict[str, Any] | None:
    names = (entry.system.name, baseline.system.name)
    errors = (entry.errors(PART), baseline.errors(PART))
    found = compare(
        results.test_sets[PART],
        *errors,
        generator(seed, "report", "comparison", *names),
        slots=(entry.slots(PART), baseline.slots(PART)),
    )
    counts = (int(errors[0].sum()), float(errors[1].sum()))
    return comparison_json(*names, counts, results, found) if found else None


def comparison_json(
    system: str, baseline: str, errors: tuple[int, float], results: Results, found: Comparison
) -> dict[str, Any]:
    """A comparison as ``docs/report_schema.md`` describes it."""
    content: dict[str, Any] = {
        "system": system,
        "baseline": baseline,
        "part": PART,
        "by": found.by,
        "errors": errors[0],
        "baseline_errors": errors[1],
        "words": int(results.test_sets[PART].words.sum()),
        **statistics_json(found),
    }
    return content


def statistics_json(found: Comparison) -> dict[str, Any]:
    """The statistics of a pair, which reports and `asr-kd compare` share."""
    content: dict[str, Any] = {
        "difference": asdict(found.difference),
        "by_utterance": interval_json(found.by_utterance),
        "by_speaker": interval_json(found.by_speaker),
        "distinguishable": found.distinguishable,
        "improvement": found.improvement,
        "detectable": found.detectable,
        "p": found.p,
    }
    if found.matched_pairs:
        test = found.matched_pairs
        content["mapsswe"] = {"segments": test.segments, "mean": test.mean, "z": test.z, "p": test.p}
    return content
