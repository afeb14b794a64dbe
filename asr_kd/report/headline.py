"""The report in words: what was kept, what was lost, what it costs."""

from collections.abc import Mapping
from typing import Any

SMALL_P = 0.001


def sentences(report: Mapping[str, Any]) -> list[str]:
    """One sentence about each student with a teacher, and one about what the test part could show.

    Args:
        report: the content of ``report.json`` so far.
    """
    systems = {system["name"]: system for system in report["systems"]}
    found = [_student(student["name"], report, systems) for student in taught_students(report)]
    pairs = report["pairs"] or report["comparisons"]
    smallest = max((100 * pair["detectable"] for pair in pairs), default=0.0)
    if round(smallest, 1) > 0:  # 0: outputs that are the same everywhere
        words = pairs[0]["words"]
        found.append(
            f"With {words:,} words this test part shows differences of {smallest:.1f} points or more "
            "(4 times out of 5); a smaller one would mostly go unnoticed."
        )
    return found


def taught_students(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The students of ``report.json`` that learnt from soft targets; controls did not."""
    settings = report["provenance"]["settings"]["distill"]["students"]
    students = [system for system in report["systems"] if system["kind"] == "student"]
    return [student for student in students if settings[student["name"]]["soft_weight"] > 0]


def _student(name: str, report: Mapping[str, Any], systems: Mapping[str, Any]) -> str:
    called = name if "student" in name else f"student {name}"
    kept = _kept(report["gap_closed"].get(name, {}))
    pair = next(pair for pair in (*report["pairs"], *report["comparisons"]) if pair["system"] == name)
    if kept:
        sentence = f"The {called} {kept}; {difference_in_words(pair)}"
    else:
        sentence = difference_in_words(pair, f"The WER of the {called}")
    return sentence + _speed(name, systems) + "."


def _kept(gap: Mapping[str, Any]) -> str | None:
    """How much of the ensemble's gain in frame accuracy a student keeps; None where that is not clear."""
    interval = gap.get("intervals", {}).get("frame_accuracy")
    if interval is None:
        return None
    share, low, high = (100 * one for one in (gap["frame_accuracy"], interval["low"], interval["high"]))
    if share < 0:
        return (
            f"falls behind the mean single network by {-share:.0f} % ({-high:.0f} to {-low:.0f} %) of the "
            "ensemble's gain in frame accuracy"
        )
    return f"keeps {share:.0f} % ({low:.0f} to {high:.0f} %) of the ensemble's gain in frame accuracy"


def difference_in_words(pair: Mapping[str, Any], subject: str = "its WER") -> str:
    """E.g. "its WER is 0.3 points above the ensemble's, interval -0.4 to 1.0: not distinguishable"."""
    difference = {key: 100 * value for key, value in pair["difference"].items()}
    baseline = "mean single network" if pair["baseline"] == "mean_single" else pair["baseline"]
    size = abs(difference["value"])
    place = f"{size:.1f} points {'above' if difference['value'] > 0 else 'below'} the {baseline}'s"
    if round(size, 1) == 0:
        place = f"that of the {baseline} to 0.1 points"
    verdict = "distinguishable" if pair["distinguishable"] else "not distinguishable"
    ends = f"{difference['low']:.1f} to {difference['high']:.1f}"
    return f"{subject} is {place}, interval {ends}: {verdict}"


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
