"""What make hands on to the program."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def command(*arguments: str) -> list[str]:
    """The last command that make would run."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    return shlex.split(done.stdout.splitlines()[-1])[1:]


def test_the_default_is_a_run_of_mini() -> None:
    assert command() == ["run", "recipe=mini"]


def test_every_variable_is_a_setting_so_that_unknown_ones_are_refused() -> None:
    found = command("recipe=an4", "precision=fp32", "stop_stag=3", "data.source=/a b", "args=+lms.a.order=3")
    assert found[:2] == ["run", "recipe=an4"]
    assert sorted(found[2:]) == ["+lms.a.order=3", "data.source=/a b", "precision=fp32", "stop_stag=3"]


def test_make_keeps_its_own_variables() -> None:
    assert command("bench", "VENV=/v", "PYTHON=python3", "work=/w") == [
        "run", "recipe=mini", "stage=bench", "work=/w",
    ]  # fmt: skip
