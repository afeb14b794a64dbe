"""What a script of ``data_prep/`` hands to stage 0."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr_kd.corpus.audio import AUDIO_SUFFIXES
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError
from asr_kd.seeding import generator

DEV_FRACTION = 10  # without a dev part, every tenth speaker is held out of training


@dataclass
class Corpus:
    """A corpus, read but not yet validated.

    Attributes:
        parts: utterances of ``train``, ``test`` and, where the corpus has one, ``dev``.
        lexicon: its pronunciations; None where it brings none.
        whole_lexicon: every word of the lexicon may be recognised, not only those seen in a text.
        lm_sentences: sentences for the language model, beside the training transcripts.
        arpas: ARPA files (plain or ``.gz``) that the corpus brings, by name.
    """

    parts: dict[str, list[Utterance]]
    lexicon: Lexicon | None = None
    whole_lexicon: bool = False
    lm_sentences: list[str] = field(default_factory=list)
    arpas: dict[str, Path] = field(default_factory=dict)


def hold_out_speakers(
    utterances: Iterable[Utterance], speakers: int, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Split utterances so that no speaker is on both sides.

    Args:
        utterances: of the training part.
        speakers: how many to hold out; 0 for a tenth, at least 2 where there are more than 2.
        seed: of the recipe. It decides the first; the others follow at equal distances in the order of names,
            which often begin with what speakers have in common (their sex in AN4): a systematic sample has
            every kind in its share, where a draw of a few speakers may miss one.

    Returns:
        The rest, and the utterances of the speakers held out.

    Raises:
        AsrKdError: nobody would be left to train on.
    """
    utterances = list(utterances)
    names = sorted({utterance.speaker for utterance in utterances})
    count = speakers or min(max(2, round(len(names) / DEV_FRACTION)), max(len(names) - 1, 1))
    if count >= len(names):
        lower = "lower data.dev_speakers, or " if speakers > 1 else ""
        raise AsrKdError(
            f"{count} of the training part's {len(names)} speakers cannot be held out as a dev part: nobody "
            f"would be left; {lower}name a dev part of other speakers with data.parts.dev"
        )
    first = generator(seed, "dev", "speakers").random()
    held_out = {names[int((place + first) * len(names) / count)] for place in range(count)}
    rest = [utterance for utterance in utterances if utterance.speaker not in held_out]
    return rest, [utterance for utterance in utterances if utterance.speaker in held_out]


def part_names(value: str) -> list[str]:
    """The parts that a setting such as ``train-clean-100+train-clean-360`` names."""
    return [name.strip() for name in value.split("+") if name.strip()]


class AudioFinder:
    """Finds audio files by their path without extension, whatever the extension is."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Path]] = {}

    def find(self, stem: Path) -> Path:
        """The audio file ``<stem>.<any extension>``, or `stem` itself where there is none.

        What is missing is left to validation to name. Where several formats lie side by side the first of
        `AUDIO_SUFFIXES` is taken.
        """
        if stem.parent not in self._folders:
            self._folders[stem.parent] = self._list(stem.parent)
        return self._folders[stem.parent].get(stem.name, stem)

    @staticmethod
    def _list(folder: Path) -> dict[str, Path]:
        files = folder.iterdir() if folder.is_dir() else ()
        audio = [file for file in files if file.suffix.lower() in AUDIO_SUFFIXES]
        # The preferred format is written last, over the others.
        audio.sort(key=lambda file: (-AUDIO_SUFFIXES.index(file.suffix.lower()), file.name))
        return {file.stem: file for file in audio}


def local_folder(source: str, *marks: str) -> Path:
    """The root of a local copy: `source`, or a folder directly inside it, that holds all of `marks`.

    Raises:
        AsrKdError: neither does.
    """
    root = Path(source).expanduser().absolute()
    if not root.is_dir():
        raise AsrKdError(f"data.source={source}: there is no such folder")
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if all((folder / mark).exists() for mark in marks):
            return folder
    raise AsrKdError(f"data.source={source}: neither it nor a folder inside it holds {', '.join(marks)}")
