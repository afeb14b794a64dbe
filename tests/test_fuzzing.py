"""Coverage-guided fuzzing of every parser of files that users bring (`make fuzz`)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parsers import PARSERS

INPUTS = int(os.environ.get("ASR_KD_FUZZ_INPUTS", "2000"))  # a parser


@pytest.mark.fuzz
@pytest.mark.parametrize("name", PARSERS)
def test_no_input_does_more_than_raise_a_named_error(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzzing", name, str(INPUTS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    counts = [line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")]
    assert done.returncode == 0 and counts, f"{tmp_path}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    print(*counts)
