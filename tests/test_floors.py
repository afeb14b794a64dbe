"""Imports point down: no room knows the stages, nor a room above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import asr_kd

ROOT = Path(asr_kd.__file__).parent
# From the lowest; rooms of one floor do not know each other.
FLOORS = (
    {"corpus", "launching", "significance"},
    {"features", "lang", "models", "scoring"},
    {"hmm", "specialists"},
    {"distillation"},
    {"training", "decoding"},
    {"runtime"},
    {"compression"},
    {"bench", "report"},
    {"stages"},
    {"status"},
    {"preflight"},
    {"pipeline"},
    {"sweep"},
    {"orders"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(file: Path) -> Iterator[str]:
    """The rooms (or modules beside them) that a file imports, but for type checks alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unread = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node not in unread
            and (node.module or "").startswith("asr_kd")
        ):
            path = (node.module or "").split(".")[1:]
            yield from path[:1] or [alias.name for alias in node.names]


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_imports_point_down(room: str) -> None:
    files = list((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
    assert files
    wrong = {
        f"{file.relative_to(ROOT)} imports {other}"
        for file in files
        for other in imports(file)
        if other != room and FLOOR.get(other, -1) >= FLOOR[room]
    }
    assert not wrong


def test_what_all_rooms_use_knows_no_room() -> None:
    beside = [file for file in ROOT.glob("*.py") if file.stem not in FLOOR and file.stem != "__main__"]
    beside += (ROOT / "config").glob("*.py")
    wrong = {f"{file.name} imports {other}" for file in beside for other in imports(file) if other in FLOOR}
    assert not wrong
