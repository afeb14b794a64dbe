"""An estimate as people read it, and beside what was measured."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.preflight import table
from asr_kd.preflight.table import Estimate, StageEstimate

FEATURES = StageEstimate(
    10.0, 2_000_000, 100_000_000, 300_000_000, {"features of train": 10.0}, {"features/train": 2_000_000}
)
TRAIN = StageEstimate(90.0, 5_000_000, 900_000_000, 2_000_000_000, {"members": 90.0}, {"train/member-0": 1})
ESTIMATE = Estimate({"features": FEATURES, "train": TRAIN}, 7_000_000, guessed=False)


def test_stages_have_rows_and_all_of_them_together_one() -> None:
    assert table.render(ESTIMATE).splitlines() == [
        "preflight: what is to be made will take about",
        "  stage           time  disk  largest process  all processes",
        "  features      10.0 s  2 MB           100 MB         300 MB",
        "  train     1 min 30 s  5 MB           900 MB         2.0 GB",
        "  together  1 min 40 s  7 MB           900 MB         2.0 GB",
    ]


def test_a_guess_is_called_one() -> None:
    assert "half or twice as long" not in table.render(ESTIMATE)
    assert "half or twice as long" in table.render(Estimate({"features": FEATURES}, 0, guessed=True))


def note(work: Path, stage: str, seconds: float, minutes: float) -> None:
    """A line of ``stages.jsonl`` as a stage writes it that finished so many minutes from now."""
    finished = datetime.now(UTC) + timedelta(minutes=minutes)
    line = {"stage": stage, "seconds": seconds, "memory_megabytes": 200}
    line |= {"finished": finished.strftime("%Y-%m-%dT%H:%M:%S%z"), "settings": {}}
    with (work / "stages.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_what_was_measured_since_stands_beside_the_estimate(tmp_path: Path) -> None:
    note(tmp_path, "features", 999.0, minutes=-5)
    table.write(tmp_path, ESTIMATE)
    assert table.outcome(tmp_path) is None
    note(tmp_path, "features", 8.0, minutes=1)
    note(tmp_path, "features", 0.1, minutes=2)  # up to date, the second time
    (tmp_path / "features" / "train").mkdir(parents=True)
    (tmp_path / "features" / "train" / "fbank.npy").write_bytes(b"x" * 1_600_000)
    shown = table.outcome(tmp_path)
    assert shown is not None
    row = " ".join(shown.splitlines()[-1].split())
    assert row == "features 10.0 s 8.0 s +25 % 2 MB 2 MB +25 % 300 MB 200 MB +50 %"
    assert "train" not in shown


def test_without_an_estimate_nothing_is_shown(tmp_path: Path) -> None:
    assert table.outcome(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"estimated": "today", "stages": {}}'])
def test_a_damaged_estimate_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / table.ESTIMATE_FILE).write_text(content)
    with pytest.raises(AsrKdError, match=r"preflight\.json is damaged"):
        table.outcome(tmp_path)
