"""Word errors by word: which are missed, what is heard instead, and which could not be recognised at all."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from asr_kd.scoring.wer import Alignment

Confusion = tuple[str | None, str | None]


@dataclass
class WordCounts:
    """What became of one word.

    Attributes:
        said: how often it occurs in the references.
        substitutions: of these, recognised as another word.
        deletions: of these, not recognised.
        insertions: recognised although nothing was said.
        false_alarms: recognised although another word was said.
    """

    said: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    false_alarms: int = 0


@dataclass(frozen=True)
class OutOfVocabulary:
    """Words that cannot be recognised, and the errors without them.

    Attributes:
        tokens: words of the references that are not in the vocabulary; each is an error.
        words: which they are, sorted.
        known_words: words of the references that are in it.
        known_errors: all errors but those at a word outside the vocabulary. What such a word makes of its
            neighbours (an insertion beside it) stays.
    """

    tokens: int
    words: tuple[str, ...]
    known_words: int
    known_errors: int

    @property
    def known_rate(self) -> float | None:
        """The word error rate of the known words; None where there are none."""
        return self.known_errors / self.known_words if self.known_words else None

    def to_json(self) -> dict[str, int | float | None]:
        """As ``docs/report_schema.md`` describes it."""
        return {
            "tokens": self.tokens,
            "known_words": self.known_words,
            "known_errors": self.known_errors,
            "known_wer": self.known_rate,
        }


def count_words(alignments: Iterable[Alignment]) -> dict[str, WordCounts]:
    """The counts of every word that was said or recognised, sorted."""
    counts: dict[str, WordCounts] = {}
    for alignment in alignments:
        for said, recognised in alignment.pairs:
            if said is not None:
                own = counts.setdefault(said, WordCounts())
                own.said += 1
                own.deletions += recognised is None
                own.substitutions += recognised is not None and recognised != said
            if recognised is not None and recognised != said:
                other = counts.setdefault(recognised, WordCounts())
                other.insertions += said is None
                other.false_alarms += said is not None
    return dict(sorted(counts.items()))


def confusions(alignments: Iterable[Alignment]) -> Counter[Confusion]:
    """How often each pair (said, recognised) occurs that is an error; None as in `Alignment`."""
    return Counter(pair for alignment in alignments for pair in alignment.pairs if pair[0] != pair[1])


def out_of_vocabulary(alignments: Iterable[Alignment], vocabulary: Collection[str]) -> OutOfVocabulary:
    """Set the words apart that are not in the `vocabulary`."""
    unknown: Counter[str] = Counter()
    known_words = known_errors = 0
    for alignment in alignments:
        for said, recognised in alignment.pairs:
            if said is not None and said not in vocabulary:
                unknown[said] += 1
                continue
            known_words += said is not None
            known_errors += said != recognised
    return OutOfVocabulary(unknown.total(), tuple(sorted(unknown)), known_words, known_errors)
