"""Twenty times as much speech takes no more memory."""

from pathlib import Path

import pytest

from asr_kd.bench.memory import compare, table

pytestmark = pytest.mark.recipe
HOURS = [5.0, 100.0]


def test_peak_memory_does_not_grow_with_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = compare(HOURS, tmp_path, "1 GB", workers=2)
    with capsys.disabled():
        print(f"\n{table(HOURS, peaks)}")
    assert {stage: last / first for stage, (first, last) in peaks.items() if last > 1.1 * first} == {}
