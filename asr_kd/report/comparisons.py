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
MEAN_SINGLE = "mean_single"


def comparisons(seed: int, results: Results) -> dict[str, list[dict[str, Any]]]:
    """Compare on test; all lists are empty where test is but one utterance.

    Returns:
        ``comparisons``: ensemble, specialists and students against the mean single network. ``pairs``:
        specialists and students against the ensemble. ``compressed``: what was made of students against the
        ensemble, where there is none against the mean single network. ``against_generalist``: specialists
        and students against the one member that the specialists come from. ``against_gmm``: the mean single
        network, every member, ensemble, specialists and students against the GMM. The p values of the first
        two are corrected for being one family of tests, those of each of the others for being another.
    """
    ensemble = next(iter(results.of_kind("ensemble")), None)
    gmm = next(iter(results.of_kind("gmm")), None)
    taught = results.of_kind("ensemble", "specialists", "student")
    against_mean = _statistics(seed, results, [(entry, None) for entry in taught])
    learnt = results.of_kind("specialists", "student")
    pairs = _statistics(seed, results, [(entry, ensemble) for entry in learnt] if ensemble else [])
    generalist = _generalist(results)
    against_generalist = _statistics(
        seed, results, [(entry, generalist) for entry in learnt] if generalist else []
    )
    compressed = _statistics(
        seed, results, [(entry, ensemble) for entry in results.of_kind("pruned", "int8")]
    )
    networks = [None, *results.of_kind("member"), *taught] if gmm else []
    against_gmm = _statistics(seed, results, [(entry, gmm) for entry in networks])
    for family in ([*against_mean, *pairs], compressed, against_generalist, against_gmm):
        tests = [entry["mapsswe"] for entry in family if "mapsswe" in entry]
        for kind in (family, tests):
            for entry, adjusted in zip(kind, holm([entry["p"] for entry in kind]), strict=True):
                entry["p_holm"] = adjusted
    return {
        "comparisons": against_mean,
        "pairs": pairs,
        "compressed": compressed,
        "against_generalist": against_generalist,
        "against_gmm": against_gmm,
    }


def _generalist(results: Results) -> Decoded | None:
    """The member that the specialists come from; None where there are none."""
    for entry in results.of_kind("specialists"):
        name = entry.system.models[0].name
        return next(member for member in results.of_kind("member") if member.system.name == name)
    return None


def report_cautions(results: Results, found: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Why this test part's statistics should be read with care; `found` by `comparisons`."""
    test_set = results.test_sets[PART]
    tests = [entry["mapsswe"] for entries in found.values() for entry in entries if "mapsswe" in entry]
    segments = min((test["segments"] for test in tests), default=None)
    return cautions(len(test_set.words), test_set.speaker_count, segments)


def _statistics(
    seed: int, results: Results, pairs: Sequence[tuple[Decoded | None, Decoded | None]]
) -> list[dict[str, Any]]:
    """Systems with their baselines, None for the mean single network."""
    found = [_comparison(seed, results, entry, baseline) for entry, baseline in pairs]
    return [one for one in found if one is not None]


def _comparison(
    seed: int, results: Results, entry: Decoded | None, baseline: Decoded | None
) -> dict[str, Any] | None:
    """A comparison as ``docs/report_schema.md`` describes it."""
    (name, errors, systems), (other, baseline_errors, baseline_systems) = (
        _summed(results, one) for one in (entry, baseline)
    )
    found = compare(
        results.test_sets[PART],
        errors,
        baseline_errors,
        generator(seed, "report", "comparison", name, other),
        systems,
        baseline_systems,
        (entry.slots(PART), baseline.slots(PART)) if entry and baseline else None,
    )
    if found is None:
        return None
    return {
        "system": name,
        "baseline": other,
        "part": PART,
        "by": found.by,
        "errors": _mean(errors, systems),
        "baseline_errors": _mean(baseline_errors, baseline_systems),
        "words": int(results.test_sets[PART].words.sum()),
        **statistics_json(found),
    }


def _summed(results: Results, entry: Decoded | None) -> tuple[str, np.ndarray, int]:
    """The name of a system, its errors ``(utterances,)``, and of how many systems they are the sum."""
    if entry is not None:
        return entry.system.name, entry.errors(PART), 1
    members = np.stack([results.headline[place].errors(PART) for place in results.members])
    return MEAN_SINGLE, members.sum(axis=0), len(members)


def _mean(errors: np.ndarray, systems: int) -> int | float:
    return int(errors.sum()) if systems == 1 else float(errors.sum() / systems)


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
