"""CMU AN4: names, numbers and spelled addresses, 948 training and 130 test utterances.

Layout: ``etc/`` with transcripts, file lists, dictionary and unigram language model, ``wav/an4_clstk`` and
``wav/an4test_clstk``; the audio may be ``.raw`` (big-endian), ``.sph`` or any other format.
"""

import re
from pathlib import Path

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import AudioFinder, Corpus, local_folder, part_names
from asr_kd.corpus.download import Remote, fetch_archive
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.text import numbered_lines, read_lines
from asr_kd.errors import AsrKdError

ARCHIVE = Remote("http://www.speech.cs.cmu.edu/databases/an4/an4_raw.bigendian.tar.gz")
# `<s> WORDS </s> (id)`; the test part goes without the sentence marks.
TRANSCRIPT = re.compile(r"^(?:<s>)?(?P<words>.*?)(?:</s>)?\s*\((?P<id>[^()\s]+)\)\s*$")


def prepare(config: DataConfig, folder: Path, seed: int = 0, workers: int = 1) -> Corpus:
    """Read AN4 from `config.source`, or download it into `folder`. It has no dev part.

    Raises:
        AsrKdError: the folder is not laid out as AN4, or nothing could be downloaded.
    """
    root = local_folder(config.source or str(fetch_archive(ARCHIVE, folder)), "etc", "wav")
    lexicon, arpa = root / "etc" / "an4.dic", root / "etc" / "an4.ug.lm"
    return Corpus(
        parts={
            part: [utterance for name in part_names(value) for utterance in _read_part(root, name)]
            for part, value in vars(config.parts).items()
            if value
        },
        lexicon=Lexicon.read(lexicon),
        whole_lexicon=True,
        arpas={"ug": arpa} if arpa.is_file() else {},
    )


def _read_part(root: Path, name: str) -> list[Utterance]:
    lists = root / "etc" / f"an4_{name}.fileids"
    if not lists.is_file():
        parts = sorted(path.stem.removeprefix("an4_") for path in lists.parent.glob("an4_*.fileids"))
        raise AsrKdError(f"{lists} is missing; the parts of this copy are {', '.join(parts) or 'none'}")
    transcripts = _transcripts(root / "etc" / f"an4_{name}.transcription")
    finder = AudioFinder()
    utterances = []
    for line in read_lines(lists):
        stem = root / "wav" / line.strip()
        # A file without a transcript keeps an empty one: validation names it.
        text = transcripts.get(stem.name, "")
        utterances.append(Utterance(stem.name, stem.parent.name, str(finder.find(stem)), text))
    return utterances


def _transcripts(path: Path) -> dict[str, str]:
    transcripts = {}
    for number, line in numbered_lines(path):
        match = TRANSCRIPT.match(line.strip())
        if not match:
            raise AsrKdError(f"{path}:{number}: not a transcript `WORDS (id)`: {line}")
        transcripts[match["id"]] = " ".join(match["words"].split())
    return transcripts
