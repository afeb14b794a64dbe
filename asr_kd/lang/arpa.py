"""Reading language models in ARPA format, as they come."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from asr_kd.errors import AsrKdError

BEGIN, END = "<s>", "</s>"


@dataclass(frozen=True)
class ArpaSummary:
    """What `restrict_arpa` kept.

    Attributes:
        ngrams: how many of each order were kept, unigrams first.
        words: the words, without ``<s>`` and ``</s>``.
        dropped_words: words of the model that are not allowed, sorted.
    """

    ngrams: tuple[int, ...]
    words: tuple[str, ...]
    dropped_words: tuple[str, ...]


def restrict_arpa(source: Path, words: Collection[str], target: Path) -> ArpaSummary:
    r"""Copy a model, without comments and without the n-grams that contain other words than `words`.

    The model is what follows the first line that is exactly ``\data\``: comments before it may contain
    anything, section titles too.

    Raises:
        AsrKdError: the file is not an ARPA model (names the line), or shares no word with `words`.
    """
    allowed = {*words, BEGIN, END}
    sections: list[list[str]] = []
    seen: set[str] = set()
    for order, fields in _ngrams(source):
        if order > len(sections):
            sections.append([])
        ngram = fields[1 : order + 1]
        if order == 1:
            seen.update(ngram)
        if allowed.issuperset(ngram):
            # A sentence that has ended backs off to nothing; some models carry a weight there all the same.
            kept = fields[: order + 1] if ngram[-1] == END else fields
            sections[-1].append("\t".join([kept[0], " ".join(ngram), *kept[order + 1 :]]))
    common = seen & set(words)
    if not common:
        raise AsrKdError(
            f"{source}: none of its {len(seen)} words is in the lexicon; is the spelling the same?"
        )
    _write(target, sections)
    return ArpaSummary(tuple(map(len, sections)), tuple(sorted(common)), tuple(sorted(seen - allowed)))


def _ngrams(source: Path) -> Iterator[tuple[int, list[str]]]:
    r"""Order and fields (probability, words, perhaps back-off weight) of every n-gram."""
    order = 0
    try:
        with source.open(encoding="utf-8", errors="surrogateescape") as file:
            header = _skip_header(source, file)
            for number, line in enumerate(file, start=header + 1):
                fields = line.split()
                if not fields or fields[0] == "ngram":
                    continue
                if fields[0] == "\\end\\":
                    return
                if fields[0] == f"\\{order + 1}-grams:":
                    order += 1
                elif order and len(fields) in {order + 1, order + 2} and _is_number(fields[0]):
                    yield order, fields
                else:
                    raise AsrKdError(f"{source}:{number}: not a line of an ARPA model: {line.strip()!r}")
    except OSError as error:
        raise AsrKdError(
            f"{source} cannot be read ({error.strerror}); check the setting lms.<name>.arpa"
        ) from error
    raise AsrKdError(f"{source} ends without \\end\\: the file is not complete")


def _skip_header(source: Path, file: TextIO) -> int:
    for number, line in enumerate(file, start=1):
        if line.strip() == "\\data\\":
            return number
    raise AsrKdError(f"{source} is not a language model in ARPA format: it has no line \\data\\")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(target: Path, sections: list[list[str]]) -> None:
    with target.open("w", encoding="utf-8", errors="surrogateescape") as file:
        counts = "".join(f"ngram {order}={len(lines)}\n" for order, lines in enumerate(sections, start=1))
        file.write(f"\\data\\\n{counts}\n")
        for order, lines in enumerate(sections, start=1):
            file.write(f"\\{order}-grams:\n")
            file.writelines(f"{line}\n" for line in lines)
            file.write("\n")
        file.write("\\end\\\n")
