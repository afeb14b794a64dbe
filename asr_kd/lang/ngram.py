"""Training n-gram language models."""

import contextlib
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from kaldingram.prune import ArpaParser
from kaldingram.prune import prune as prune_model
from kaldingram.train import NgramCounts

from asr_kd.corpus.arpa import BEGIN, END
from asr_kd.errors import AsrKdError

UNKNOWN = "<unk>"
MAX_ORDER = 5


def train_arpa(
    sentences: Iterable[Sequence[str]],
    order: int,
    path: Path,
    vocabulary: Collection[str],
    prune: float = 0.0,
) -> None:
    """Train a back-off Kneser-Ney model over a fixed vocabulary and write it in ARPA format.

    Words outside of the vocabulary become ``<unk>``. Words of the vocabulary that the sentences lack share
    what absolute discounting takes from the unigrams, evenly among all words (interpolated Kneser-Ney with
    a uniform zeroth order; Chen and Goodman 1999).

    Args:
        sentences: each a sequence of words.
        order: of the longest n-grams, 1 to 5.
        path: of the ARPA file.
        vocabulary: the words that the model must know.
        prune: leave out n-grams whose absence raises the model's perplexity by less than this share (entropy
            pruning, Stolcke 1998); 0 keeps all.

    Raises:
        AsrKdError: the order or the share is out of range, or there are no sentences.
    """
    if not 1 <= order <= MAX_ORDER:
        raise AsrKdError(f"lms.<name>.order={order}: n-gram models have orders 1 to {MAX_ORDER}")
    if prune < 0:
        raise AsrKdError(
            f"lms.<name>.prune={prune}: give 0 to keep all n-grams, or a small share such as 1e-7"
        )
    known = set(vocabulary)
    counts = NgramCounts(order, bos_symbol=BEGIN, eos_symbol=END)
    empty = True
    for sentence in sentences:
        counts.add_raw_counts_from_line(" ".join(word if word in known else UNKNOWN for word in sentence))
        empty = False
    if empty:
        raise AsrKdError("there is no text to train a language model on")
    # The library draws progress bars of every little step.
    with contextlib.redirect_stderr(io.StringIO()):
        counts.cal_discounting_constants()
        counts.cal_f()
        _smooth_unigrams(counts, known)
        counts.cal_bow()
        with path.open("w", encoding="utf-8") as file:
            counts.print_as_arpa(file)
        # Count cutoffs would be quicker, but leave bigrams behind that have no probability.
        if prune > 0:
            _prune(path, prune)


def _prune(path: Path, threshold: float) -> None:
    parser = ArpaParser()
    model = parser.loadf(path, encoding="utf-8")[0]
    prune_model(model, threshold, 2)
    parser.dumpf(model, path, encoding="utf-8")


def _smooth_unigrams(counts: NgramCounts, vocabulary: set[str]) -> None:
    """Interpolate the unigrams with a uniform distribution over all words and the end of the sentence."""
    unigrams = counts.counts[0][()]
    evidence = {word: float(_evidence(counts, word)) for word in unigrams.word_to_count if word != BEGIN}
    total = sum(evidence.values())
    once, twice = (sum(value == n for value in evidence.values()) for n in (1, 2))
    # As the library discounts the other orders; 0.5 where so few words were seen that none occurs once.
    discount = once / (once + 2 * twice) if once else 0.5
    words = {*vocabulary, *evidence}
    unigrams.word_to_f[BEGIN] = 0.0
    share = discount * sum(value >= discount for value in evidence.values()) / total / len(words)
    for word in sorted(words):
        unigrams.word_to_count[word] += 0
        unigrams.word_to_f[word] = max(evidence.get(word, 0.0) - discount, 0.0) / total + share


def _evidence(counts: NgramCounts, word: str) -> int:
    """What the library counts a unigram by: contexts seen before it, or occurrences in a unigram model."""
    unigrams = counts.counts[0][()]
    return unigrams.word_to_count[word] if counts.ngram_order == 1 else len(unigrams.word_to_context[word])
