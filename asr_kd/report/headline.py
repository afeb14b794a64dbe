"""The report in words: what was kept, what was lost, what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

from asr_kd.significance.comparison import BY_UTTERANCE
from asr_kd.significance.power import LEVEL

SMALL_P = 0.001


def answer(report: Mapping[str, Any]) -> list[str]:
    """Whether the first student that learnt from the ensemble lost anything, in words and in frames.

    Where all students have other teachers it is the first of them.

    Args:
        report: the content of ``report.json`` so far.
    """
    students = taught_students(report)
    if not students:
        return []
    settings = report["provenance"]["settings"]["distill"]["students"]
    of_ensemble = (student for student in students if settings[student["name"]]["teachers"] == "ensemble")
    name = next(of_ensemble, students[0])["name"]
    pair = _pair_of(name, report)
    words = _words_lost(pair) if pair else "Words: one utterance cannot tell."
    frames = _frames_lost(report["gap_closed"].get(name, {}))
    return [words, *([frames] if frames else [])]


def _words_lost(pair: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in outer_ends(pair))
    if low == high == 0:
        return f"Words: no; as many errors as the {_baseline(pair)} in every utterance."
    if high <= 0:
        return f"Words: no; {-high:.1f} to {-low:.1f} points of WER below the {_baseline(pair)}."
    if is_clear(pair):
        return f"Words: yes, {low:.1f} to {high:.1f} points of WER against the {_baseline(pair)}."
    if pair["difference"]["low"] > 0:
        own = " to ".join(f"{100 * pair['difference'][end]:.1f}" for end in ("low", "high"))
        doubts = ["does not survive the correction for all comparisons"] * (pair["p_holm"] >= LEVEL)
        doubts += ["does not hold with speakers resampled"] * (low <= 0)
        loss = f"a loss of {own} points of WER against the {_baseline(pair)}"
        return f"Words: {loss} that {' and '.join(doubts)}."
    wider = ", the wider of those by utterance and by speaker" if _has_both_units(pair) else ""
    return (
        f"Words: no loss that {pair['words']:,} words can show, and at most {high:.1f} points of WER against "
        f"the {_baseline(pair)} (95 % interval{wider})."
    )


def outer_ends(pair: Mapping[str, Any]) -> tuple[float, float]:
    """Of the interval of a difference; where speakers are few, of those by utterance and by speaker.

    Utterances of one speaker are alike, so the interval by utterance may be too narrow; of few speakers the
    other one is rough.
    """
    return _outer([pair["difference"], *([pair["by_speaker"]] if _has_both_units(pair) else [])])


def _outer(intervals: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    return min(one["low"] for one in intervals), max(one["high"] for one in intervals)


def _has_both_units(pair: Mapping[str, Any]) -> bool:
    return pair["by"] == BY_UTTERANCE and pair["by_speaker"] is not None


def _gap_ends(gap: Mapping[str, Any]) -> tuple[float, float] | None:
    """The same of the gap closed in frame accuracy; None where the ensemble's gain is not clear."""
    intervals = [gap.get("intervals", {}).get("frame_accuracy")]
    if gap.get("by") == BY_UTTERANCE and gap["by_speaker"] is not None:
        intervals.append(gap["by_speaker"]["frame_accuracy"])
    return None if None in intervals else _outer(intervals)


def _frames_lost(gap: Mapping[str, Any]) -> str:
    ends = _gap_ends(gap)
    if ends is None:
        return ""
    low, high = (100 * end for end in ends)
    if high < 100:
        return f"Frames: yes, {100 - high:.0f} to {100 - low:.0f} % of the ensemble's gain in accuracy."
    if low > 100:
        return "Frames: no; accuracy is above the ensemble's."
    return f"Frames: no clear loss; {low:.0f} to {high:.0f} % of the ensemble's gain in accuracy is kept."


def sentences(report: Mapping[str, Any]) -> list[str]:
    """One sentence about each student with a teacher, about the ensemble, and about what test could show.

    Args:
        report: the content of ``report.json`` so far.
    """
    systems = {system["name"]: system for system in report["systems"]}
    found = [_student(student["name"], report, systems) for student in taught_students(report)]
    found += [
        difference_in_words(pair, "The WER of the ensemble itself") + "."
        for pair in report["comparisons"]
        if systems[pair["system"]]["kind"] == "ensemble"
    ]
    found += [
        difference_in_words(pair, f"The WER of {pair['system']}", f"that of {pair['baseline']}")
        + "; the latter learnt from labels alone, of the same transcribed speech."
        for pair in report["against_controls"]
    ]
    found += _below_the_gmm(report["against_gmm"])
    pairs = report["pairs"] or report["comparisons"]
    smallest = max((100 * pair["detectable"] for pair in pairs), default=0.0)
    if round(smallest, 1) > 0:  # 0: outputs that are the same everywhere
        words = pairs[0]["words"]
        found.append(
            f"With {words:,} words this test part shows differences of {smallest:.1f} points or more "
            "(4 times out of 5); a smaller one would mostly go unnoticed."
        )
    return found


def tuning_in_words(decode: Mapping[str, Any]) -> str:
    """What was tuned on dev and what was given.

    Args:
        decode: the section of the settings.
    """
    named = {"acoustic scale": decode["acoustic_scales"], "beam": decode["beams"]}
    tuned = [name for name, values in named.items() if len(set(values)) > 1]
    given = [f"{name} {values[0]:g}" for name, values in named.items() if name not in tuned]
    sentence = f"{' and '.join(given)} given for all systems" if given else ""
    if tuned:
        verb = "were" if len(tuned) > 1 else "was"
        own = f"{' and '.join(tuned)} {verb} tuned on dev for each system and frozen"
        sentence = f"{own}; {sentence}" if sentence else own
    return f"{sentence[0].upper()}{sentence[1:]}; test was decoded once."


def _below_the_gmm(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether networks are worth anything at all: the mean single one, and every one by itself."""
    if not pairs:
        return []
    mean, *others = pairs
    above = [pair["system"] for pair in others if pair["difference"]["value"] >= 0]
    clear = sum(pair["difference"]["value"] < 0 and is_clear(pair) for pair in others)
    verb = "is" if clear == 1 else "are"
    each = f"of {len(others)} further systems {clear or 'none'} {verb} distinguishably below it"
    if above:
        each += f", and not below it at all {'is' if len(above) == 1 else 'are'} {', '.join(above)}"
    return [f"{difference_in_words(mean, 'The WER of the mean single network')}; {each}."]


def taught_students(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The students of ``report.json`` that learnt from soft targets; controls did not."""
    settings = report["provenance"]["settings"]["distill"]["students"]
    students = [system for system in report["systems"] if system["kind"] == "student"]
    return [student for student in students if settings[student["name"]]["soft_weight"] > 0]


def _pair_of(name: str, report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A student against the ensemble, or where there is none against the mean single network."""
    pairs = (*report["pairs"], *report["comparisons"])
    return next((pair for pair in pairs if pair["system"] == name), None)


def _student(name: str, report: Mapping[str, Any], systems: Mapping[str, Any]) -> str:
    called = name if "student" in name else f"student {name}"
    kept = _kept(report["gap_closed"].get(name, {}))
    pair = _pair_of(name, report)
    if pair is None:
        rate = f"is {100 * systems[name]['metrics']['test']['wer']:.1f} %"
        sentence = f"The {called} {kept}; its WER {rate}" if kept else f"The WER of the {called} {rate}"
    elif kept:
        sentence = f"The {called} {kept}; {difference_in_words(pair)}"
    else:
        sentence = difference_in_words(pair, f"The WER of the {called}")
    return sentence + _speed(name, systems) + "."


def _kept(gap: Mapping[str, Any]) -> str | None:
    """How much of the ensemble's gain in frame accuracy a student keeps; None where that is not clear."""
    ends = _gap_ends(gap)
    if ends is None:
        return None
    share, low, high = (100 * one for one in (gap["frame_accuracy"], *ends))
    if share < 0:
        return (
            f"falls behind the mean single network by {-share:.0f} % ({-high:.0f} to {-low:.0f} %) of the "
            "ensemble's gain in frame accuracy"
        )
    return f"keeps {share:.0f} % ({low:.0f} to {high:.0f} %) of the ensemble's gain in frame accuracy"


def difference_in_words(
    pair: Mapping[str, Any], subject: str = "its WER", baseline: str | None = None
) -> str:
    """E.g. "its WER is 0.3 points above the ensemble's, interval -0.4 to 1.0: not distinguishable".

    Args:
        pair: the comparison.
        subject: the system's rate, in words.
        baseline: the other one's, if "the ensemble's" will not do.
    """
    value, low, high = (100 * one for one in (pair["difference"]["value"], *outer_ends(pair)))
    place = f"{abs(value):.1f} points {'above' if value > 0 else 'below'} "
    place += baseline or f"the {_baseline(pair)}'s"
    if round(abs(value), 1) == 0:
        place = f"{baseline or f'that of the {_baseline(pair)}'} to 0.1 points"
    ends = " to ".join(f"{round(end, 1) + 0.0:.1f}" for end in (low, high))  # + 0.0: no sign before a zero
    return f"{subject} is {place}, interval {ends}: {verdict(pair)}"


def _baseline(pair: Mapping[str, Any]) -> str:
    name: str = pair["baseline"]
    return "mean single network" if name == "mean_single" else name


def is_clear(pair: Mapping[str, Any]) -> bool:
    """Whether a difference is distinguishable, corrected for several comparisons, and by either unit.

    By speaker only where speakers are few: elsewhere they are the unit.
    """
    low, high = outer_ends(pair)
    return bool(pair["distinguishable"] and pair["p_holm"] < LEVEL and not low <= 0 <= high)


def verdict(pair: Mapping[str, Any]) -> str:
    """What a comparison says, in as few words as are true."""
    if not pair["distinguishable"]:
        return "not distinguishable"
    if is_clear(pair):
        return "distinguishable"
    if pair["p_holm"] < LEVEL:
        return "distinguishable for these speakers, not by speaker"
    return "not distinguishable once corrected for all comparisons"


def _speed(name: str, systems: Mapping[str, Any]) -> str:
    ensemble = next((system for system in systems.values() if system["kind"] == "ensemble"), None)
    student = systems[name]
    if ensemble is None:
        return ""
    share = student["parameters"] / ensemble["parameters"]
    text = f"; it has {100 * share:.0f} % of the ensemble's parameters"
    if "rtf" in ensemble and "rtf" in student:
        gain = ensemble["rtf"]["total"] / student["rtf"]["total"]
        text += (
            f" and is {gain:.1f} times as fast" if gain >= 1 else f" and takes {1 / gain:.1f} times as long"
        )
    return text


def p_in_words(p: float) -> str:
    """Three decimals, or less than the smallest that they show."""
    return f"< {SMALL_P}" if p < SMALL_P else f"{p:.3f}"
