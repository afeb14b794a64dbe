"""speechocean762 (OpenSLR 101): English read by Mandarin speakers, adults and children.

Layout: Kaldi data directories ``train/`` and ``test/`` with audio paths relative to the root, and
``resource/lexicon.txt``.
"""

from pathlib import Path

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import Corpus, local_folder
from asr_kd.corpus.download import Remote, fetch_archive
from asr_kd.corpus.kaldi import read_parts
from asr_kd.corpus.lexicon import Lexicon

ARCHIVE = Remote("https://www.openslr.org/resources/101/speechocean762.tar.gz")


def prepare(config: DataConfig, folder: Path, seed: int = 0, workers: int = 1) -> Corpus:
    """Read speechocean762 from `config.source`, or download it into `folder`. It has no dev part.

    Raises:
        AsrKdError: the folder is not laid out as the corpus, or nothing could be downloaded.
    """
    root = local_folder(config.source or str(fetch_archive(ARCHIVE, folder)), "resource/lexicon.txt")
    return Corpus(
        parts=read_parts(root, config.parts),
        lexicon=Lexicon.read(root / "resource" / "lexicon.txt", strip_stress=True),
        whole_lexicon=True,
    )
