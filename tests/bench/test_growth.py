"""A repeated corpus is as many times as long, and what stages took stands beside the estimate."""

from pathlib import Path

import pytest

from asr_kd import cli
from asr_kd.bench.growth import PARTS, STAGES, Taken, repeat_corpus, run, table
from asr_kd.corpus.kaldi import read_data_dir
from tests.small_mini import SMALL


@pytest.fixture
def exported(mini: list[str], tmp_path: Path) -> Path:
    """The corpus of a finished run as Kaldi data directories."""
    assert cli.main(["export-data", *mini, f"to={tmp_path / 'data'}"]) == 0
    return tmp_path / "data"


def test_only_the_training_part_is_repeated_by_other_speakers(exported: Path, tmp_path: Path) -> None:
    repeat_corpus(exported, tmp_path / "more", 3)
    for part in PARTS:
        before, after = (read_data_dir(folder / part) for folder in (exported, tmp_path / "more"))
        times = 3 if part == "train" else 1
        assert len(after) == times * len(before)
        assert len({one.speaker for one in after}) == times * len({one.speaker for one in before})
        assert {one.audio for one in after} == {one.audio for one in before}


def test_what_stages_took_stands_beside_the_estimate(exported: Path, tmp_path: Path) -> None:
    repeat_corpus(exported, tmp_path / "more", 1)
    names = ("align", "models", "train", "distill", "workers")
    settings = [one for one in SMALL if one.startswith(names)]
    lexicon = tmp_path / "exp" / "data" / "lexicon.txt"
    found = run(tmp_path / "more", lexicon, tmp_path / "grown", [*settings, "preflight=true"])
    assert list(found) == list(STAGES)
    assert all(one.seconds > 0 and one.estimated_seconds > 0 and one.written > 0 for one in found.values())


def test_the_table_compares_the_largest_with_the_smallest() -> None:
    found = {size: {stage: Taken(2.0 * size + 1, 2.5, 100 * size) for stage in STAGES} for size in (1, 2, 4)}
    lines = table(found).splitlines()
    assert lines[2] == "| features | 3.0 s (2.5 s) | 5.0 s (2.5 s) | 9.0 s (2.5 s) | 3.00 | 4.00 |"
    assert len(lines) == 2 + len(STAGES)
