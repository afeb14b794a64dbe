"""Every stage of recipe `mini` on a disk that is too small, and then on one that is not."""

import shutil
from pathlib import Path

import pytest

from asr_kd import cli
from tests.small_disk import remount, small_disk
from tests.small_mini import SAME_BYTES, content, settings_in

ROOMS = (8, 40, 150, 500, 2000)  # kilobytes that a run finds


@pytest.mark.recipe
@pytest.mark.parametrize("stage", [*SAME_BYTES, "bench"])
def test_a_stage_that_finds_the_disk_full_names_it_and_goes_on_where_there_is_room(
    finished_mini: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    failures = 0
    with small_disk(tmp_path / "disk", 100_000) as disk:
        work = disk / "exp"
        shutil.copytree(finished_mini / "exp", work)
        whole = content(work, [stage])
        shutil.rmtree(work / stage)
        settings = settings_in(finished_mini / "corpora", work)
        for room in (*ROOMS, None):
            used = shutil.disk_usage(disk).used // 1024
            remount(disk, f"size={used + room if room else 100_000}k")
            status = cli.main(["run", *settings, f"stage={stage}", f"stop_stage={stage}"])
            message = capsys.readouterr().err
            if status:
                failures += 1
                assert "No space left on device" in message and str(disk) in message, message
                assert room is not None
        assert content(work, [stage]).keys() == whole.keys()
        assert content(work, [stage]) == whole or stage == "bench"
    with capsys.disabled():
        print(f"\n{stage}: {failures} runs named the full disk, and one with room ended in the same bytes")
