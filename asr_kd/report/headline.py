"""The report in words: what was kept, what was lost, what it costs."""

from collections.abc import Mapping
from typing import Any

SMALL_P = 0.001


def sentences(report: Mapping[str, Any]) -> list[str]:
    """One sentence about each student, and one about what the test part could show.

    Args:
        report: the content of ``report.json`` so far.
    """
    systems = {system["name"]: system for system in report["systems"]}
    found = [
        _student(name, report, systems) for name, system in systems.items() if system["kind"] == "student"
    ]
    pairs = report["pairs"] or report["comparisons"]
    if pairs:
        smallest = max(100 * pair["detectable"] for pair in pairs)
        words = pairs[0]["words"]
        found.append(
            f"With {words:,} words this test part shows differences of {smallest:.1f} points or more "
            "(4 times out of 5); a smaller one would mostly go unnoticed."
        )
    return found


def _student(name: str, report: Mapping[str, Any], systems: Mapping[str, Any]) -> str:
    clauses = []
    gap = report["gap_closed"].get(name, {})
    if gap.get("frame_accuracy") is not None:
        interval = gap["intervals"]["frame_accuracy"]
        ends = f" ({100 * interval['low']:.0f} to {100 * interval['high']:.0f} %)" if interval else ""
        clauses.append(
            f"keeps {100 * gap['frame_accuracy']:.0f} %{ends} of the ensemble's gain in frame accuracy"
        )
    pair = next((pair for pair in report["pairs"] if pair["system"] == name), None)
    if pair is None:
        pair = next((pair for pair in report["comparisons"] if pair["system"] == name), None)
    if pair is not None:
        clauses.append(difference_in_words(pair))
    if not clauses:
        return f"{name}: WER {100 * systems[name]['metrics']['test']['wer']:.1f} %."
    sentence = f"The {name} " if "student" in name else f"The student {name} "
    return sentence + "; ".join(clauses) + _speed(name, systems) + "."


def difference_in_words(pair: Mapping[str, Any]) -> str:
    """E.g. "its WER is 0.3 points above the ensemble's, interval -0.4 to 1.0: not distinguishable"."""
    difference = {key: 100 * value for key, value in pair["difference"].items()}
    baseline = "mean single network" if pair["baseline"] == "mean_single" else pair["baseline"]
    size = abs(difference["value"])
    place = f"{size:.1f} points {'above' if difference['value'] > 0 else 'below'} the {baseline}'s"
    if round(size, 1) == 0:
        place = f"that of the {baseline} to 0.1 points"
    verdict = "distinguishable" if pair["distinguishable"] else "not distinguishable"
    ends = f"{difference['low']:.1f} to {difference['high']:.1f}"
    return f"its WER is {place}, interval {ends}: {verdict}"


def _speed(name: str, systems: Mapping[str, Any]) -> str:
    ensemble = next((system for system in systems.values() if system["kind"] == "ensemble"), None)
    student = systems[name]
    if ensemble is None:
        return ""
    share = student["parameters"] / ensemble["parameters"]
    text = f"; it has {100 * share:.0f} % of the ensemble's parameters"
    if "rtf" in ensemble and "rtf" in student:
        text += f" and is {ensemble['rtf']['total'] / student['rtf']['total']:.1f} times as fast"
    return text


def p_in_words(p: float) -> str:
    """Three decimals, or less than the smallest that they show."""
    return f"< {SMALL_P}" if p < SMALL_P else f"{p:.3f}"
