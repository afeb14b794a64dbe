"""Measurements are made once, and together by as many processes as will work together."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asr_kd.preflight import calibration, measure
from asr_kd.preflight.calibration import CACHE_FILE, UNMEASURED, calibrate
from asr_kd.preflight.measure import Found, Measured
from asr_kd.preflight.plan import Need


def double(of: float) -> Found:
    """A measurement."""
    return {"frame": Measured(2 * of, 7)}


class Pool:
    """Worker processes that are none; `asked` is what they were asked to measure."""

    asked: list[tuple[str, int]]

    def __init__(self, workers: int) -> None:
        pass

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(
        self, function: Callable[[Any], Found], items: Sequence[Any], _: str
    ) -> Iterator[tuple[int, Found]]:
        Pool.asked.append((function.__name__, len(items)))
        if function is measure.start:
            found: Found = {"torch": Measured(3.0, 100)}
            yield from enumerate([found] * len(items))
        else:
            yield from enumerate(map(function, items))


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    Pool.asked = []
    monkeypatch.setattr(calibration, "WorkerPool", Pool)


def test_what_is_measured_becomes_constants(tmp_path: Path) -> None:
    constants = calibrate([Need(double, 0.25, 1)], tmp_path, workers=2)
    assert constants.seconds == UNMEASURED | {"torch": 3.0, "frame": 0.5}
    assert constants.bytes == {"torch": 100, "frame": 7}
    assert Pool.asked == [("start", 2), ("double", 1)]


def test_it_is_remembered_for_the_same_question(tmp_path: Path) -> None:
    first = calibrate([Need(double, 0.25, 1)], tmp_path, workers=2)
    assert calibrate([Need(double, 0.25, 1)], tmp_path, workers=2) == first
    assert len(Pool.asked) == 2
    calibrate([Need(double, 0.5, 1)], tmp_path, workers=2)
    calibrate([Need(double, 0.25, 2)], tmp_path, workers=2)
    assert Pool.asked[2:] == [("double", 1), ("double", 2)]


def test_another_machine_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate([], tmp_path, workers=2)
    monkeypatch.setattr(calibration, "processor", lambda: "another")
    calibrate([], tmp_path, workers=2)
    assert Pool.asked == [("start", 2)] * 2


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1}', '{"a": {"b": ["x", 1]}}'])
def test_a_damaged_memory_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / CACHE_FILE).write_text(content)
    assert calibrate([Need(double, 1.0, 1)], tmp_path, workers=1).seconds["frame"] == 2.0


def test_processes_that_measure_together_are_averaged() -> None:
    found = [{"frame": Measured(1.0, 5)}, {"frame": Measured(3.0, 9)}]
    assert calibration._mean(found) == {"frame": Measured(2.0, 9)}
