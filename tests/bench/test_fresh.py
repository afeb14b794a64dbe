from pathlib import Path

import pytest
import soundfile

from asr_kd.bench.fresh import fresh_process
from tests.runtime.conftest import noise


@pytest.fixture
def audio(tmp_path: Path) -> list[str]:
    soundfile.write(tmp_path / "a.wav", noise(1.0), 16000)
    return [str(tmp_path / "a.wav")]


def test_memory_is_that_of_the_process_and_not_of_the_one_that_started_it(
    model_folder: Path, audio: list[str]
) -> None:
    held = bytearray(300_000_000)
    found = fresh_process(model_folder, 1, audio)
    assert len(held) > found["peak_memory_bytes"] + 50_000_000 > 60_000_000


def test_seconds_until_the_first_words_are_those_of_all_steps(model_folder: Path, audio: list[str]) -> None:
    found = fresh_process(model_folder, 1, audio)
    assert found["first_words_seconds"] > found["import_seconds"] + found["load_seconds"] > 0
