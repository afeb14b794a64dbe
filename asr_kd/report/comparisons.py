"""Who is better than whom, for ``report.json``: against the mean single network, and system by system."""

from typing import Any

import numpy as np

from asr_kd.report.rates import interval_json
from asr_kd.report.results import Decoded, Results
from asr_kd.seeding import generator
from asr_kd.significance.comparison import Comparison, compare
from asr_kd.significance.multiple import holm
from asr_kd.significance.power import cautions

PART = "test"


def comparisons(seed: int, results: Results) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare on test.

    Returns:
        Ensemble, specialists and students against the mean single network, and students against the
        ensemble. Their p values are corrected for being one family of tests.
    """
    against_mean = [
        _against_mean(seed, results, entry)
        for kind in ("ensemble", "specialists", "student")
        for entry in results.of_kind(kind)
    ]
    pairs = [
        _pair(seed, results, student, ensemble)
        for ensemble in results.of_kind("ensemble")
        for student in results.of_kind("student")
    ]
    family = [*against_mean, *pairs]
    for entry, adjusted in zip(family, holm([entry["p"] for entry in family]), strict=True):
        entry["p_holm"] = adjusted
    tests = [entry["mapsswe"] for entry in pairs]
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    return against_mean, pairs


def report_cautions(results: Results, pairs: list[dict[str, Any]]) -> list[str]:
    """Why this test part's statistics should be read with care."""
    test_set = results.test_sets[PART]
    segments = min((pair["mapsswe"]["segments"] for pair in pairs), default=None)
    return cautions(len(test_set.words), test_set.speaker_count, segments)


def _against_mean(seed: int, results: Results, entry: Decoded) -> dict[str, Any]:
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
    return comparison_json(entry.system.name, "mean_single", counts, results, found)


def _pair(seed: int, results: Results, entry: Decoded, baseline: Decoded) -> dict[str, Any]:
    names = (entry.system.name, baseline.system.name)
    errors = (entry.errors(PART), baseline.errors(PART))
    found = compare(
        results.test_sets[PART],
        *errors,
        generator(seed, "report", "comparison", *names),
        slots=(entry.slots(PART), baseline.slots(PART)),
    )
    counts = (int(errors[0].sum()), float(errors[1].sum()))
    return comparison_json(*names, counts, results, found)


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
        "difference": {"value": found.difference.value, **interval_json(found.difference)},
        "by_utterance": interval_json(found.by_utterance),
        "by_speaker": interval_json(found.by_speaker) if found.by_speaker else None,
        "distinguishable": found.distinguishable,
        "improvement": found.improvement,
        "detectable": found.detectable,
        "p": found.p,
    }
    if found.matched_pairs:
        test = found.matched_pairs
        content["mapsswe"] = {"segments": test.segments, "mean": test.mean, "z": test.z, "p": test.p}
    return content
