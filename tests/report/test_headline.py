from typing import Any

from asr_kd.report.headline import sentences

NOT_CLEAR = {"frame_accuracy": -34.0, "cross_entropy": 2.0, "intervals": {"frame_accuracy": None}}


def gap(value: float, low: float, high: float) -> dict[str, Any]:
    return {"frame_accuracy": value, "intervals": {"frame_accuracy": {"low": low, "high": high}}}


def pair(baseline: str, value: float, detectable: float, system: str = "student") -> dict[str, Any]:
    return {
        "system": system,
        "baseline": baseline,
        "difference": {"value": value, "low": value - 0.01, "high": value + 0.01},
        "distinguishable": False,
        "detectable": detectable,
        "words": 1234,
    }


def make_report(
    gaps: dict[str, Any],
    comparisons: list[dict[str, Any]],
    pairs: list[dict[str, Any]],
    *,
    ensemble: bool = True,
) -> dict[str, Any]:
    systems: list[dict[str, Any]] = [{"name": "ensemble", "kind": "ensemble", "parameters": 500}] * ensemble
    systems += [
        {"name": name, "kind": "student", "parameters": 100, "metrics": {"test": {"wer": 0.05}}}
        for name in gaps
    ]
    students = {name: {"soft_weight": float(name != "control")} for name in gaps}
    return {
        "systems": systems,
        "gap_closed": gaps,
        "comparisons": comparisons,
        "pairs": pairs,
        "provenance": {"settings": {"distill": {"students": students}}},
    }


def test_what_a_student_keeps_and_controls_are_no_students() -> None:
    gaps = {"student": gap(0.86, 0.7, 1.02), "control": gap(0.1, 0.0, 0.2)}
    pairs = [pair("ensemble", 0.003, 0.012), pair("ensemble", 0.02, 0.011, "control")]
    assert sentences(make_report(gaps, [pair("mean_single", -0.01, 0.02)], pairs)) == [
        "The student keeps 86 % (70 to 102 %) of the ensemble's gain in frame accuracy; its WER is 0.3 "
        "points above the ensemble's, interval -0.7 to 1.3: not distinguishable; it has 20 % of the "
        "ensemble's parameters.",
        "With 1,234 words this test part shows differences of 1.2 points or more (4 times out of 5); a "
        "smaller one would mostly go unnoticed.",
    ]


def test_a_share_of_a_gain_that_is_not_clear_is_left_out() -> None:
    report = make_report({"small": NOT_CLEAR}, [], [pair("ensemble", -0.021, 0.01, "small")])
    assert sentences(report)[0] == (
        "The WER of the student small is 2.1 points below the ensemble's, interval -3.1 to -1.1: not "
        "distinguishable; it has 20 % of the ensemble's parameters."
    )


def test_less_than_a_single_network_is_a_loss() -> None:
    report = make_report({"student": gap(-0.2, -0.45, 0.05)}, [], [pair("ensemble", 0.0, 0.01)])
    assert sentences(report)[0] == (
        "The student falls behind the mean single network by 20 % (-5 to 45 %) of the ensemble's gain in "
        "frame accuracy; its WER is that of the ensemble to 0.1 points, interval -1.0 to 1.0: not "
        "distinguishable; it has 20 % of the ensemble's parameters."
    )


def test_one_member_and_the_same_output() -> None:
    nothing = {"frame_accuracy": None, "intervals": {"frame_accuracy": None}}
    report = make_report({"student": nothing}, [pair("mean_single", 0.0, 0.0)], [], ensemble=False)
    assert sentences(report) == [
        "The WER of the student is that of the mean single network to 0.1 points, interval -1.0 to 1.0: not "
        "distinguishable."
    ]
