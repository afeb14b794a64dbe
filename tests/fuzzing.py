"""Coverage-guided fuzzing of one parser of `parsers`: ``python -m tests.fuzzing PARSER INPUTS FOLDER``.

libFuzzer, by way of atheris, alters a file in the directions that reach new code of ours. The process ends
with another status than 0 where an exception other than `AsrKdError` comes, where it dies, takes more than
`SECONDS` for one input or more than `MEGABYTES` of memory; the input is then in FOLDER.
"""

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["asr_kd", "data_prep"]):
    from asr_kd.errors import AsrKdError
    from tests.parsers import PARSERS

SECONDS, MEGABYTES = 60, 4000


def main(name: str, inputs: int, folder: Path) -> None:
    parser, corpus = PARSERS[name], folder / "corpus"
    for made in (folder, corpus):
        made.mkdir(exist_ok=True)
    parser.write(folder)
    altered = folder / parser.file
    (corpus / "original").write_bytes(altered.read_bytes())
    tried = refused = 0

    def parse(content: bytes) -> None:
        nonlocal tried, refused
        altered.write_bytes(content)
        try:
            parser.parse(folder)
        except AsrKdError:
            refused += 1
        tried += 1
        if tried == inputs:
            print(f"{name}: {tried} inputs, {refused} of them refused by name", flush=True)
            os._exit(0)  # at an ordinary exit libFuzzer's alarm may ring when nobody listens

    limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-max_len=20000", "-len_control=0"]
    options = ["-seed=1", "-verbosity=0", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, *limits, str(corpus)], parse)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
