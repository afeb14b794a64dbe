from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from asr_kd.hmm.word_times import WordTime
from asr_kd.report.figures import alike_together, apart, figures, write_pictures
from asr_kd.report.spectrogram import spectrogram
from asr_kd.report.theme import LIGHT, inline_svg


def system(name: str, kind: str, wer: float) -> dict[str, Any]:
    interval = {"low": wer - 0.01, "high": wer + 0.01}
    units = {"interval": interval, "by_utterance": interval, "by_speaker": None}
    metrics = {"wer": wer, **units, "frame_accuracy": 0.6}
    return {"name": name, "kind": kind, "metrics": {"test": metrics}, "rtf": {"total": 0.01}}


@pytest.fixture
def report() -> dict[str, Any]:
    students = {
        "warm": {"temperature": 2.0, "soft_weight": 1.0},
        "hot": {"temperature": 5.0, "soft_weight": 1.0},
        "control": {"temperature": 3.0, "soft_weight": 0.0},
    }
    pairs = [
        {"label": "AH", "found": "EH", "frames": 9},
        {"label": "EH", "found": "AH", "frames": 4},
        {"label": "S", "found": "Z", "frames": 3},
        {"label": "Z", "found": "Z", "frames": 1},
    ]
    difference = {"value": 0.01, "low": 0.005, "high": 0.015}
    pair = {"system": "warm", "baseline": "ensemble", "difference": difference, "distinguishable": True}
    pair |= {"by": "utterance", "by_utterance": difference, "by_speaker": {"low": 0.001, "high": 0.03}}
    return {
        "lm": "bigram",
        "comparisons": [],
        "pairs": [pair | {"p_holm": 0.01}, pair | {"system": "hot", "p_holm": 0.2}],
        "compressed": [],
        "confused_phones": {"warm": {"share": 0.6, "pairs": pairs}},
        "temperature_sweeps": {},
        "systems": [
            system("member-0", "member", 0.07),
            system("ensemble", "ensemble", 0.05),
            system("warm", "student", 0.06),
            system("hot", "student", 0.065),
            system("control", "student", 0.068),
        ],
        "mean_single": {"metrics": {"test": {"wer": 0.07}}},
        "bench": {"processor": "a processor", "threads": 1},
        "provenance": {"settings": {"distill": {"students": students}}},
    }


def test_a_picture_for_whatever_there_is(report: dict[str, Any], tmp_path: Path) -> None:
    drawn = figures(report, {})
    assert list(drawn) == [
        "What is lost and what is not",
        "Word error rates",
        "Accuracy against speed",
        "Temperature",
        "Confused phones: warm",
    ]
    files = write_pictures(tmp_path, drawn)
    assert all((tmp_path / file).stat().st_size > 5000 for file in files.values())
    svg = inline_svg(drawn["Temperature"][1], "temperature", "Temperature")
    # Students are told apart.
    assert "var(--student)" in svg
    assert "var(--student-2)" in svg


def test_no_sweep_of_one_temperature_and_no_speed_unmeasured(report: dict[str, Any]) -> None:
    other = deepcopy(report)
    other["provenance"]["settings"]["distill"]["students"]["hot"]["temperature"] = 2.0
    other["confused_phones"], other["pairs"] = {}, []
    for one in other["systems"]:
        del one["rtf"]
    assert list(figures(other, {})) == ["Word error rates"]


def test_controls_have_no_temperature(report: dict[str, Any]) -> None:
    rates, accuracies = figures(report, {})["Temperature"][1].axes
    assert {line.get_label() for line in rates.lines if line.get_marker() == "o"} == {"warm", "hot"}
    assert len(accuracies.lines) == 2


def test_what_is_clear_is_filled(report: dict[str, Any]) -> None:
    (axes,) = figures(report, {})["What is lost and what is not"][1].axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([1.0, 1.0])
    assert [line.get_markerfacecolor() == "none" for line in points] == [False, True]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["warm", "hot"]
    lines = {
        line.get_linewidth(): list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2
    }
    assert lines[3] == pytest.approx([0.5, 1.5]) and lines[1] == pytest.approx([0.1, 3.0])


def test_names_of_equally_fast_systems_do_not_overlap(report: dict[str, Any]) -> None:
    (axes,) = figures(report, {})["Accuracy against speed"][1].axes
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert len(heights) == 5
    low, high = axes.get_ylim()
    assert min(np.diff(heights)) > 0.06 * (high - low)


def test_names_move_no_further_than_needed() -> None:
    assert apart([1.0, 2.0, 4.0], 0.5) == [1.0, 2.0, 4.0]
    assert apart([1.0, 1.0, 1.0], 0.5) == pytest.approx([0.5, 1.0, 1.5])


def test_confused_phones_stand_together(report: dict[str, Any]) -> None:
    pairs = report["confused_phones"]["warm"]["pairs"]
    phones = alike_together([pairs])
    assert abs(phones.index("AH") - phones.index("EH")) == abs(phones.index("S") - phones.index("Z")) == 1
    (axes,) = figures(report, {})["Confused phones: warm"][1].axes
    areas = [path.get_extents().width ** 2 for path in axes.collections[0].get_paths()]
    assert areas == pytest.approx([pair["frames"] / 9 for pair in pairs if pair["label"] != pair["found"]])
    assert alike_together([]) == []


def test_words_stand_where_they_are_spoken() -> None:
    random = np.random.default_rng(0)
    waveform = 0.1 * random.standard_normal(16000).astype(np.float32)
    figure = spectrogram(waveform, 16000, [WordTime("YES", 20, 60), WordTime("NO", 60, 90)], 0.01)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 1)
    texts = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert texts == pytest.approx({"YES": 0.4, "NO": 0.75})
    svg = inline_svg(figure, "one", "Spectrogram")
    assert svg.count("<image") == 1
    assert ">YES<" in svg
    assert LIGHT["ink"] not in svg


def test_of_a_long_utterance_only_the_beginning_is_shown() -> None:
    waveform = np.zeros(30 * 8000, dtype=np.float32)
    figure = spectrogram(waveform, 8000, [WordTime("LATE", 2000, 2100)], 0.01)
    assert figure.axes[0].get_xlim() == (0, 16)
    assert figure.axes[0].get_xlabel() == "seconds, the first of 30.0"
    assert not figure.axes[0].texts


def test_words_of_fast_speech_do_not_overlap() -> None:
    text = "IT WAS A DAY MADE FOR ONLY THE FEW IN THE VALLEY OF THE INNUMERABLE ONES"
    said = text.split()
    words, start = [], 5
    for word in said:
        frames = 4 + 2 * len(word)  # much less than its lettering takes
        words.append(WordTime(word, start, start + frames))
        start += frames
    figure = spectrogram(np.zeros(80 * (start + 5), dtype=np.float32), 8000, words, 0.01)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == len(said)
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    # Inside the picture.
    assert all(box.y1 < figure.bbox.height for box in boxes)
