"""What a process costs that only recognises: ``python -m asr_kd.bench.fresh MODEL THREADS AUDIO...``.

Prints one JSON object: seconds from the start of Python to the first file's words (import, load, recognise),
and the most memory that the process ever held.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr_kd.jobs import THREAD_VARIABLES

_STATUS = Path("/proc/self/status")


def fresh_process(model: Path, threads: int, audio: Sequence[str]) -> dict[str, Any]:
    """Run this module in a process of its own.

    Args:
        model: folder.
        threads: of the network.
        audio: files; the first one's words are waited for.
    """
    command = [sys.executable, "-m", "asr_kd.bench.fresh", str(model), str(threads), *audio]
    environment = dict.fromkeys(THREAD_VARIABLES, str(threads)) | {
        "PYTHONPATH": ":".join(filter(None, sys.path))
    }
    started = time.time()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    found["first_words_seconds"] = found.pop("first_words_at") - started
    return found


def peak_memory_bytes() -> int:
    """The most memory that this program ever held.

    Not `resource.getrusage`: its maximum outlives the start of another program, so that a child would be
    charged with what its parent held.
    """
    fields = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="utf-8").splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])


def main() -> None:
    """Recognise the files given and print what it took."""
    model, threads, *audio = sys.argv[1:]
    started = time.perf_counter()
    from asr_kd.runtime import Recogniser
    from asr_kd.runtime.audio import read_blocks

    imported = time.perf_counter()
    recogniser = Recogniser(Path(model), int(threads))
    loaded = time.perf_counter()
    first_words_at = 0.0
    for name in audio:
        list(recogniser.recognise(read_blocks(name, recogniser.sample_rate)))
        first_words_at = first_words_at or time.time()
    print(
        json.dumps(
            {
                "import_seconds": imported - started,
                "load_seconds": loaded - imported,
                "first_words_at": first_words_at,
                "peak_memory_bytes": peak_memory_bytes(),
            }
        )
    )


if __name__ == "__main__":
    main()
