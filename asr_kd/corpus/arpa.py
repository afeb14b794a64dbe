"""The little that stage 0 needs to know of ARPA language models: where they begin, and their words."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from asr_kd.artifacts import replace_file
from asr_kd.errors import AsrKdError

BEGINNING = "\\data\\"
SENTENCE_MARKS = frozenset({"<s>", "</s>", "<unk>", "<UNK>"})


def write_clean_arpa(source: Path, target: Path) -> None:
    r"""Copy an ARPA file (plain or ``.gz``) without what stands before ``\data\``.

    The format allows any text there; readers that search for ``\1-grams:`` stumble over a header that
    explains the format.

    Raises:
        AsrKdError: it has no line ``\data\`` or ``\end\``.
    """
    with _open(source) as file, replace_file(target) as temporary:
        last = ""
        with temporary.open("w", encoding="utf-8") as output:
            for line in _from_beginning(source, file):
                output.write(line.rstrip() + "\n")
                last = line.strip() or last
        if last != "\\end\\":
            raise AsrKdError(f"{source} has no line \\end\\ at its end: it is truncated or no ARPA file")


def arpa_words(path: Path) -> set[str]:
    """The words of an ARPA file's unigrams, without the marks of sentence ends and unknown words.

    Raises:
        AsrKdError: the file is missing or no ARPA file.
    """
    words: set[str] = set()
    with _open(path) as file:
        inside = False
        for line in _from_beginning(path, file):
            if line.startswith("\\"):
                if inside:
                    break
                inside = line.strip() == "\\1-grams:"
            elif inside and line.strip():
                fields = line.split()
                if len(fields) < 2:
                    raise AsrKdError(f"{path}: {line.strip()!r} is not a unigram `log-probability word`")
                words.add(fields[1])
    if not words:
        raise AsrKdError(f"{path} has no unigrams: it is truncated or no ARPA file")
    return words - SENTENCE_MARKS


def _open(path: Path) -> TextIO:
    if not path.is_file():
        raise AsrKdError(f"{path}: there is no such ARPA file")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _from_beginning(path: Path, file: TextIO) -> Iterator[str]:
    begun = False
    try:
        for line in file:
            begun = begun or line.strip() == BEGINNING
            if begun:
                yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise AsrKdError(f"{path} cannot be read ({error}); it is damaged or no ARPA file") from error
    if not begun:
        raise AsrKdError(f"{path} has no line \\data\\: it is no ARPA file")
