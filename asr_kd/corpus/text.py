"""Text files that users bring: transcripts, lexicons, tables, sentences, JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr_kd.errors import AsrKdError


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1; a byte-order mark is no part of the first.

    Raises:
        AsrKdError: the file is missing, cannot be read or is not UTF-8; names the file, and the line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise AsrKdError(f"{path} is missing") from None
    except OSError as error:
        raise AsrKdError(f"{path} cannot be read ({error.strerror})") from error
    lines = decoded(content, path).split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def decoded(content: bytes, path: Path, first_line: int = 1) -> str:
    """The text of a file from line `first_line` on; a byte-order mark at its start is no part of it.

    Raises:
        AsrKdError: it is not UTF-8, or holds zero bytes (as UTF-16 does); names the file and the line.
    """
    try:
        text = content.decode("utf-8-sig")
        end, reason = content.find(b"\0"), "a zero byte"
    except UnicodeDecodeError as error:
        end, reason = error.start, error.reason
    if end >= 0:
        number = first_line + content[:end].count(b"\n")
        raise AsrKdError(f"{path}:{number} is not UTF-8 text ({reason}); convert the file, e.g. with iconv")
    return text


def read_lines(path: Path) -> list[str]:
    """The lines that are not blank.

    Raises:
        AsrKdError: as `numbered_lines`.
    """
    return [line for _, line in numbered_lines(path)]


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its place ``file:line`` for error messages.

    Raises:
        AsrKdError: as `numbered_lines`, or a line is no JSON object; names the line.
    """
    for number, line in numbered_lines(path):
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
            if "\\ud" in line.lower():  # half of a character cannot be written anywhere
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise AsrKdError(f"{place}: not a JSON object ({error})") from None
        if not isinstance(row, dict):
            raise AsrKdError(f"{place}: not a JSON object")
        yield place, row
