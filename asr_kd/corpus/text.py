"""Text files that users bring: transcripts, lexicons, tables, sentences."""

from pathlib import Path

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
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise AsrKdError(
            f"{path}:{number} is not UTF-8 text ({error.reason}); convert the file, e.g. with iconv"
        ) from error
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def read_lines(path: Path) -> list[str]:
    """The lines that are not blank.

    Raises:
        AsrKdError: as `numbered_lines`.
    """
    return [line for _, line in numbered_lines(path)]
