r"""Language models in ARPA format, as they come: every line is checked, and what is wrong is named.

The format is that of Doug Paul, as SRILM's manual page ngram-format(5) describes it. The library that makes
transducers of models ends the whole process where it finds one malformed: nothing may reach it unchecked.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from asr_kd.artifacts import replace_file
from asr_kd.corpus.text import decoded
from asr_kd.errors import AsrKdError

BEGIN, END = "<s>", "</s>"
SENTENCE_MARKS = frozenset({BEGIN, END, "<unk>", "<UNK>"})
BEGINNING, ENDING = "\\data\\", "\\end\\"
_LONGEST_LINE = 1_000_000  # bytes; what has no lines is no text, and would be read whole
_GZIP_MARK = b"\x1f\x8b"
_COUNT = re.compile(r"ngram\s+([0-9]{1,3})\s*=\s*([0-9]{1,18})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
# Base-10 logarithms. Models write -99 for what is impossible; rounding may leave a bit more than certainty.
_LARGEST_PROBABILITY, _LARGEST_WEIGHT = 0.001, 1000.0


class Ngram(NamedTuple):
    """One line of a model.

    Attributes:
        words: the n-gram.
        probability: log10, as written.
        backoff: log10 of its back-off weight, as written; None where there is none.
    """

    words: tuple[str, ...]
    probability: str
    backoff: str | None


def read_ngrams(path: Path) -> Iterator[Ngram]:
    r"""The n-grams of an ARPA file (plain or gzipped), unigrams first.

    The model is what follows the first line that is exactly ``\data\``: comments before it may contain
    anything, section titles too.

    Raises:
        AsrKdError: the file is missing, damaged, not UTF-8 or malformed, has more or fewer n-grams than it
            announces, or lacks the marks of sentences; names the line.
    """
    counts: list[int] = []
    order = found = 0
    unigrams: set[str] = set()
    for number, line in _body(path):
        fields = line.split()
        if not fields or fields == [BEGINNING]:
            continue
        if fields[0].startswith("\\"):
            if order:
                _check_section(f"{path}:{number}", order, found, counts, unigrams)
            if fields == [ENDING] and order == len(counts):
                return
            order, found = order + 1, 0
            if fields != [f"\\{order}-grams:"] or order > len(counts):
                raise _malformed(path, number, line)
        elif not order:
            match = _COUNT.fullmatch(line.strip())
            if not match or int(match[1]) != len(counts) + 1:
                raise _malformed(path, number, line)
            counts.append(int(match[2]))
        else:
            ngram = _ngram(fields, order)
            if ngram is None:
                raise _malformed(path, number, line)
            _check_words(f"{path}:{number}", ngram.words, unigrams)
            found += 1
            yield ngram
    raise AsrKdError(f"{path} ends without {ENDING}: the file is not complete")


def write_clean_arpa(source: Path, target: Path) -> None:
    r"""Copy an ARPA file (plain or gzipped) without what stands before ``\data\`` and after ``\end\``.

    Readers that search for ``\1-grams:`` stumble over a header that explains the format.

    Raises:
        AsrKdError: the file cannot be read, or has no line ``\data\`` or ``\end\``.
    """
    with replace_file(target) as temporary, temporary.open("w", encoding="utf-8") as output:
        for _, line in _body(source):
            output.write(line.rstrip() + "\n")
            if line.strip() == ENDING:
                return
        raise AsrKdError(f"{source} ends without {ENDING}: the file is not complete")


def arpa_words(path: Path) -> set[str]:
    """The words of an ARPA file without the marks of sentences and unknown words; all of it is checked.

    Raises:
        AsrKdError: as `read_ngrams`.
    """
    return {ngram.words[0] for ngram in read_ngrams(path) if len(ngram.words) == 1} - SENTENCE_MARKS


def _open(path: Path) -> BufferedIOBase:
    if not path.is_file():
        raise AsrKdError(f"{path}: there is no such ARPA file")
    with path.open("rb") as file:
        packed = file.read(len(_GZIP_MARK)) == _GZIP_MARK
    return gzip.open(path) if packed else path.open("rb")


def _body(path: Path) -> Iterator[tuple[int, str]]:
    r"""The lines from ``\data\`` on, with their numbers from 1."""
    begun, number = False, 0
    try:
        with _open(path) as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                begun = begun or line.strip().removeprefix(codecs.BOM_UTF8) == BEGINNING.encode()
                if len(line) == _LONGEST_LINE:
                    raise AsrKdError(f"{path}:{number} is a line without end: it is damaged or no ARPA file")
                if begun:
                    yield number, decoded(line, path, number)
    except (OSError, EOFError, zlib.error) as error:
        raise AsrKdError(f"{path} cannot be read ({error}); it is damaged or no ARPA file") from error
    if not begun:
        raise AsrKdError(f"{path} has no line {BEGINNING}: it is no language model in ARPA format")


def _ngram(fields: list[str], order: int) -> Ngram | None:
    """A line's fields as an n-gram of this order; None if they are none."""
    probability, words, rest = fields[0], tuple(fields[1 : order + 1]), fields[order + 1 :]
    if len(words) < order or len(rest) > 1:
        return None
    if not _is_weight(probability) or float(probability) > _LARGEST_PROBABILITY:
        return None
    return Ngram(words, probability, rest[0] if rest else None) if all(map(_is_weight, rest)) else None


def _is_weight(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and abs(float(text)) <= _LARGEST_WEIGHT


def _check_words(place: str, words: tuple[str, ...], unigrams: set[str]) -> None:
    """Unigrams come once each and first; longer n-grams are made of them."""
    if len(words) == 1:
        if words[0] in unigrams:
            raise AsrKdError(f"{place}: the word {words[0]!r} was there before; take one of its lines out")
        unigrams.add(words[0])
    elif not unigrams.issuperset(words):
        unknown = next(word for word in words if word not in unigrams)
        raise AsrKdError(f"{place}: an n-gram of {unknown!r}, which is not among the 1-grams")


def _check_section(place: str, order: int, found: int, counts: list[int], unigrams: set[str]) -> None:
    if found != counts[order - 1]:
        raise AsrKdError(
            f"{place}: {found} {order}-grams end here, where the file announces {counts[order - 1]}: it is "
            "damaged; copy it anew"
        )
    if missing := [mark for mark in (BEGIN, END) if mark not in unigrams]:
        raise AsrKdError(
            f"{place}: no {' and no '.join(missing)} among the 1-grams: no sentence could begin and end; "
            "train the model with marks of sentences"
        )


def _malformed(path: Path, number: int, line: str) -> AsrKdError:
    return AsrKdError(f"{path}:{number}: not a line of an ARPA model here: {line.strip()[:100]!r}")
