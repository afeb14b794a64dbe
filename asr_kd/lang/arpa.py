"""Language models in ARPA format, restricted to the words of a lexicon."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from asr_kd.corpus.arpa import BEGIN, END, Ngram, read_ngrams
from asr_kd.errors import AsrKdError


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
    """Copy a model, without comments and without the n-grams that contain other words than `words`.

    Raises:
        AsrKdError: as `read_ngrams`, or the model shares no word with `words`.
    """
    allowed = {*words, BEGIN, END}
    sections: list[list[Ngram]] = []
    seen: set[str] = set()
    for ngram in read_ngrams(source):
        order = len(ngram.words)
        sections += [[] for _ in range(order - len(sections))]
        if order == 1:
            seen.update(ngram.words)
        if allowed.issuperset(ngram.words):
            sections[-1].append(ngram)
    common = seen & set(words)
    if not common:
        raise AsrKdError(
            f"{source}: none of its {len(seen)} words is in the lexicon; is the spelling the same?"
        )
    _write(target, sections)
    return ArpaSummary(tuple(map(len, sections)), tuple(sorted(common)), tuple(sorted(seen - allowed)))


def _write(target: Path, sections: list[list[Ngram]]) -> None:
    with target.open("w", encoding="utf-8") as file:
        counts = "".join(f"ngram {order}={len(lines)}\n" for order, lines in enumerate(sections, start=1))
        file.write(f"\\data\\\n{counts}\n")
        for order, ngrams in enumerate(sections, start=1):
            file.write(f"\\{order}-grams:\n")
            file.writelines(_line(ngram, order == len(sections)) for ngram in ngrams)
            file.write("\n")
        file.write("\\end\\\n")


def _line(ngram: Ngram, longest: bool) -> str:
    # A sentence that has ended backs off to nothing, nor do the longest n-grams; some models carry a weight
    # there all the same.
    backs_off = ngram.backoff is not None and ngram.words[-1] != END and not longest
    fields = [ngram.probability, " ".join(ngram.words), *([ngram.backoff or ""] if backs_off else [])]
    return "\t".join(fields) + "\n"
