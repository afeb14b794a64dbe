from typing import Any

import pytest

from asr_kd.report.headline import answer, difference_in_words, sentences, tuning_in_words, verdict

NOT_CLEAR = {"frame_accuracy": -34.0, "cross_entropy": 2.0, "intervals": {"frame_accuracy": None}}


def gap(value: float, low: float, high: float) -> dict[str, Any]:
    return {"frame_accuracy": value, "intervals": {"frame_accuracy": {"low": low, "high": high}}}


def pair(
    baseline: str,
    value: float,
    detectable: float,
    system: str = "student",
    p_holm: float = 0.01,
    by_speaker: tuple[float, float] | None = None,
) -> dict[str, Any]:
    return {
        "system": system,
        "baseline": baseline,
        "by": "utterance",
        "by_speaker": by_speaker and dict(zip(("low", "high"), by_speaker, strict=True)),
        "difference": {"value": value, "low": value - 0.01, "high": value + 0.01},
        "distinguishable": abs(value) > 0.01,
        "p_holm": p_holm,
        "detectable": detectable,
        "words": 1234,
    }


def make_report(
    gaps: dict[str, Any],
    comparisons: list[dict[str, Any]],
    pairs: list[dict[str, Any]],
    *,
    ensemble: bool = True,
    teachers: str = "ensemble",
) -> dict[str, Any]:
    systems: list[dict[str, Any]] = [{"name": "ensemble", "kind": "ensemble", "parameters": 500}] * ensemble
    systems += [
        {"name": name, "kind": "student", "parameters": 100, "metrics": {"test": {"wer": 0.05}}}
        for name in gaps
    ]
    taught_by = {"student": teachers}
    students = {
        name: {"soft_weight": float(name != "control"), "teachers": taught_by.get(name, "other")}
        for name in gaps
    }
    return {
        "systems": systems,
        "gap_closed": gaps,
        "comparisons": comparisons,
        "pairs": pairs,
        "against_controls": [],
        "against_generalist": [],
        "against_gmm": [],
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


def test_controls_of_the_same_speech() -> None:
    report = make_report({}, [], [])
    report["against_controls"] = [pair("control (3 seeds)", 0.011, 0.02, "student (3 seeds)")]
    assert sentences(report)[0] == (
        "The WER of student (3 seeds) is 1.1 points above that of control (3 seeds), interval 0.1 to 2.1: "
        "distinguishable; the latter learnt from labels alone, of the same transcribed speech."
    )
    report["against_controls"] = [pair("control", 0.0, 0.02)]
    assert sentences(report)[0].startswith("The WER of student is that of control to 0.1 points, ")


def test_a_share_of_a_gain_that_is_not_clear_is_left_out() -> None:
    report = make_report({"small": NOT_CLEAR}, [], [pair("ensemble", -0.021, 0.01, "small")])
    assert sentences(report)[0] == (
        "The WER of the student small is 2.1 points below the ensemble's, interval -3.1 to -1.1: "
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


def test_an_ensemble_that_gains_nothing_in_words_is_named() -> None:
    report = make_report(
        {"student": NOT_CLEAR}, [pair("mean_single", 0.008, 0.01, "ensemble")], [pair("ensemble", 0.0, 0.01)]
    )
    assert sentences(report)[1] == (
        "The WER of the ensemble itself is 0.8 points above the mean single network's, interval -0.2 to 1.8: "
        "not distinguishable."
    )


def test_a_network_that_is_worse_than_the_gmm_is_named() -> None:
    report = make_report({"student": NOT_CLEAR}, [], [pair("ensemble", 0.0, 0.01)])
    report["against_gmm"] = [
        pair("gmm", -0.02, 0.01, "mean_single"),
        pair("gmm", -0.05, 0.01, "member-0"),
        pair("gmm", -0.005, 0.01, "member-1"),
        pair("gmm", 0.004, 0.01, "member-2"),
    ]
    assert sentences(report)[1] == (
        "The WER of the mean single network is 2.0 points below the gmm's, interval -3.0 to -1.0: "
        "distinguishable; of 3 further systems 1 is distinguishably below it, and not below it at all is "
        "member-2."
    )


def test_one_utterance_has_a_rate_and_no_verdict() -> None:
    report = make_report({"student": NOT_CLEAR}, [], [])
    assert sentences(report) == ["The WER of the student is 5.0 %; it has 20 % of the ensemble's parameters."]
    assert answer(report) == ["Words: one utterance cannot tell."]


@pytest.mark.parametrize(
    ("value", "p_holm", "expected"),
    [
        (0.0, 1.0, "not distinguishable"),
        (0.02, 0.04, "distinguishable"),
        (0.02, 0.15, "not distinguishable once corrected for all comparisons"),
    ],
)
def test_a_verdict_is_corrected(value: float, p_holm: float, expected: str) -> None:
    assert verdict(pair("ensemble", value, 0.01, p_holm=p_holm)) == expected


def test_few_speakers_are_asked_too() -> None:
    """What utterances tell apart, speakers must as well; the wider interval is the one in words."""
    wide = pair("ensemble", 0.02, 0.01, by_speaker=(-0.004, 0.05))
    assert verdict(wide) == "distinguishable for these speakers, not by speaker"
    assert "interval -0.4 to 5.0" in difference_in_words(wide)
    assert verdict(wide | {"by_speaker": {"low": 0.001, "high": 0.05}}) == "distinguishable"
    nearly = pair("ensemble", 0.02, 0.01, by_speaker=(-0.0004, 0.05))
    assert "interval 0.0 to 5.0" in difference_in_words(nearly)
    # Enough speakers are the unit themselves.
    assert verdict(wide | {"by": "speaker"}) == "distinguishable"
    kept = gap(1.0, 0.8, 1.2) | {
        "by": "utterance",
        "by_speaker": {"frame_accuracy": {"low": 0.5, "high": 1.1}},
    }
    report = make_report({"student": kept}, [], [pair("ensemble", 0.0, 0.01, by_speaker=(-0.02, 0.005))])
    assert answer(report) == [
        "Words: no loss that 1,234 words can show, and at most 1.0 points of WER against the ensemble "
        "(95 % interval, the wider of those by utterance and by speaker).",
        "Frames: no clear loss; 50 to 120 % of the ensemble's gain in accuracy is kept.",
    ]
    assert "keeps 100 % (50 to 120 %)" in sentences(report)[0]
    kept["by_speaker"]["frame_accuracy"] = None
    assert len(answer(report)) == 1


@pytest.mark.parametrize(
    ("difference", "kept", "expected"),
    [
        (
            pair("ensemble", 0.003, 0.01),
            gap(1.0, 0.66, 1.5),
            [
                "Words: no loss that 1,234 words can show, and at most 1.3 points of WER against the "
                "ensemble (95 % interval).",
                "Frames: no clear loss; 66 to 150 % of the ensemble's gain in accuracy is kept.",
            ],
        ),
        (
            pair("ensemble", 0.03, 0.01),
            gap(0.5, 0.2, 0.8),
            [
                "Words: yes, 2.0 to 4.0 points of WER against the ensemble.",
                "Frames: yes, 20 to 80 % of the ensemble's gain in accuracy.",
            ],
        ),
        (
            pair("ensemble", -0.03, 0.01),
            gap(1.5, 1.1, 1.9),
            [
                "Words: no; 2.0 to 4.0 points of WER below the ensemble.",
                "Frames: no; accuracy is above the ensemble's.",
            ],
        ),
        # Not so clear once corrected.
        (
            pair("ensemble", 0.03, 0.01, p_holm=0.2),
            NOT_CLEAR,
            [
                "Words: a loss of 2.0 to 4.0 points of WER against the ensemble that does not survive the "
                "correction for all comparisons."
            ],
        ),
        (
            pair("ensemble", 0.03, 0.01, by_speaker=(-0.01, 0.06)),
            NOT_CLEAR,
            [
                "Words: a loss of 2.0 to 4.0 points of WER against the ensemble that does not hold with "
                "speakers resampled."
            ],
        ),
        (
            pair("ensemble", 0.0, 0.0) | {"difference": {"value": 0.0, "low": 0.0, "high": 0.0}},
            NOT_CLEAR,
            ["Words: no; as many errors as the ensemble in every utterance."],
        ),
    ],
)
def test_did_we_lose_anything(difference: dict[str, Any], kept: dict[str, Any], expected: list[str]) -> None:
    assert answer(make_report({"student": kept}, [], [difference])) == expected


@pytest.mark.parametrize(
    ("scales", "beams", "expected"),
    [
        ([0.1, 0.2], [9.0, 10.0], "Acoustic scale and beam were tuned on dev for each system and frozen; "),
        (
            [0.1, 0.2],
            [12.0],
            "Acoustic scale was tuned on dev for each system and frozen; beam 12 given for all systems; ",
        ),
        ([0.1], [12.0], "Acoustic scale 0.1 and beam 12 given for all systems; "),
    ],
)
def test_what_was_tuned_follows_from_the_settings(
    scales: list[float], beams: list[float], expected: str
) -> None:
    said = tuning_in_words({"acoustic_scales": scales, "beams": beams})
    assert said == expected + "test was decoded once."


def test_controls_answer_nothing() -> None:
    assert answer(make_report({"control": NOT_CLEAR}, [], [pair("ensemble", 0.0, 0.01, "control")])) == []


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.01, "is 3.0 times as fast"), (0.06, "takes 2.0 times as long")]
)
def test_speed_is_that_of_the_whole_way_from_audio_to_words(seconds: float, said: str) -> None:
    report = make_report({"student": NOT_CLEAR}, [], [pair("ensemble", 0.0, 0.01)])
    for system, total in zip(report["systems"], (0.03, seconds), strict=True):
        system["rtf"] = {"total": total}
    assert sentences(report)[0].endswith(f"it has 20 % of the ensemble's parameters and {said}.")


@pytest.mark.parametrize(("teachers", "asked"), [("ensemble", "student"), ("specialists", "alone")])
def test_the_answer_is_about_a_student_of_the_ensemble(teachers: str, asked: str) -> None:
    """Others, here the one before it, keep of its gain what is no matter of theirs."""
    gaps = {"alone": gap(0.6, 0.5, 0.7), "student": gap(0.85, 0.8, 0.9)}
    pairs = [pair("ensemble", value, 0.01, name) for name, value in (("alone", 0.03), ("student", 0.02))]
    words, frames = answer(make_report(gaps, [], pairs, teachers=teachers))
    assert {"student": "1.0 to 3.0", "alone": "2.0 to 4.0"}[asked] in words
    assert {"student": "10 to 20 %", "alone": "30 to 50 %"}[asked] in frames
