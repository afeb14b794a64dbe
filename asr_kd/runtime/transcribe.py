"""``asr-kd transcribe``: audio files, or a stream, to words."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from asr_kd.errors import AsrKdError
from asr_kd.jobs import map_processes
from asr_kd.runtime.audio import STANDARD_INPUT, find_audio, read_blocks, read_raw
from asr_kd.runtime.output import FORMATS, as_named_text
from asr_kd.runtime.recogniser import Recogniser, Segment

MODEL_VARIABLE = "ASR_KD_MODEL"
INVALID = ("refuse", "skip")
STREAM_SECONDS = 0.1  # of audio between two looks at a stream


def run(arguments: Sequence[str]) -> None:
    """The verb.

    Raises:
        AsrKdError: no model, no audio, or audio that cannot be read; files before it were written, and with
            ``--invalid skip`` all others.
    """
    given = _parser().parse_args(arguments)
    if not given.model:
        raise AsrKdError(f"transcribe needs a model folder: --model FOLDER, or the variable {MODEL_VARIABLE}")
    if given.jobs < 1 or given.threads < 1:
        raise AsrKdError("--jobs and --threads: give at least 1")
    if given.stream:
        _stream(given)
        return
    names = find_audio(given.audio)
    write = _writer(given, len(names))
    unread = 0
    try:
        for name, found in _recognise(names, given):
            if isinstance(found, AsrKdError):
                print(f"asr-kd: {found}", file=sys.stderr)
                unread += 1
            else:
                write(name, found)
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if unread:
        raise AsrKdError(f"{unread} of {len(names)} files cannot be read; all others were recognised")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asr-kd transcribe", description="Speech to words, with a model made by `asr-kd export-model`."
    )
    parser.add_argument("audio", nargs="+", help="audio files, folders of them, or - for standard input")
    parser.add_argument("--model", default=os.environ.get(MODEL_VARIABLE), metavar="FOLDER")
    parser.add_argument("--format", choices=sorted(FORMATS), default="text")
    parser.add_argument(
        "--output", metavar="FOLDER", help="write one file for each audio file there, not to standard output"
    )
    parser.add_argument("--jobs", type=int, default=1, help="files recognised at a time, in processes")
    parser.add_argument("--threads", type=int, default=1, help="of the network, in each process")
    parser.add_argument(
        "--invalid",
        choices=INVALID,
        default="refuse",
        help="audio that cannot be read: end there (refuse, the default), or name it and go on (skip)",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="recognise while the audio comes in; partial results on a terminal",
    )
    parser.add_argument(
        "--raw", type=int, metavar="HERTZ", help="standard input has no header: 16-bit samples, one channel"
    )
    return parser


class _Task(NamedTuple):
    """One file for one worker."""

    model: Path
    threads: int
    name: str
    raw: int | None
    skip: bool


# Segments of a file, or why there are none.
_Found = list[Segment] | AsrKdError


def _recognise(names: Sequence[str], given: argparse.Namespace) -> Iterator[tuple[str, _Found]]:
    """What was found by file, in the order given."""
    skip = given.invalid == "skip"
    tasks = [_Task(Path(given.model), given.threads, name, given.raw, skip) for name in names]
    if given.jobs == 1 or len(tasks) == 1 or STANDARD_INPUT in names:  # a worker has no standard input
        yield from zip(names, map(_recognise_file, tasks), strict=True)
        return
    waiting: dict[int, _Found] = {}
    following = 0
    for place, found in map_processes(_recognise_file, tasks, given.jobs, "transcribe"):
        waiting[place] = found
        while following in waiting:
            yield names[following], waiting.pop(following)
            following += 1


@lru_cache(maxsize=1)
def _loaded(model: Path, threads: int) -> Recogniser:
    return Recogniser(model, threads)


def _recognise_file(task: _Task) -> _Found:
    recogniser = _loaded(task.model, task.threads)
    if task.raw and task.name == STANDARD_INPUT:
        audio = read_raw(sys.stdin.buffer, task.raw, recogniser.sample_rate, 1.0)
    else:
        audio = read_blocks(task.name, recogniser.sample_rate)
    try:
        return list(recogniser.recognise(audio))
    except AsrKdError as error:
        if not task.skip:
            raise
        return error


def _writer(given: argparse.Namespace, files: int) -> Callable[[str, list[Segment]], None]:
    if given.output is None:
        several = files > 1 and given.format == "text"
        as_format = as_named_text if several else FORMATS[given.format]

        def write(name: str, segments: list[Segment]) -> None:
            sys.stdout.write(as_format(name, segments))
            sys.stdout.flush()

        return write
    folder = Path(given.output)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = {"text": "txt", "json": "jsonl"}.get(given.format, given.format)
    written: set[Path] = set()

    def write_file(name: str, segments: list[Segment]) -> None:
        stem = "stdin" if name == STANDARD_INPUT else Path(name).stem
        path = folder / f"{stem}.{suffix}"
        if path in written:
            raise AsrKdError(f"{name}: another file was written to {path} already; give them other names")
        path.write_text(FORMATS[given.format](name, segments), encoding="utf-8")
        written.add(path)

    return write_file


def _stream(given: argparse.Namespace) -> None:
    """One recording, its words as they become certain; on a terminal also those that may still change."""
    if len(given.audio) != 1 or Path(given.audio[0]).is_dir():
        raise AsrKdError("--stream takes one file, or - for standard input")
    if given.format not in {"text", "json"} or given.output:
        raise AsrKdError("--stream writes text or json, to standard output")
    (name,) = given.audio
    if name == STANDARD_INPUT and not given.raw:
        raise AsrKdError(
            "--stream - needs --raw HERTZ (16-bit samples, one channel, no header): "
            "a file with a header is told apart only when all of it is there"
        )
    recogniser = _loaded(Path(given.model), given.threads)
    stream = recogniser.stream()
    live = sys.stdout.isatty() and given.format == "text"
    if name == STANDARD_INPUT:
        audio = read_raw(sys.stdin.buffer, given.raw, recogniser.sample_rate, STREAM_SECONDS)
    else:
        (name,) = find_audio([name])
        audio = read_blocks(name, recogniser.sample_rate)
    shown = ""
    for samples in audio:
        shown = _show(name, stream.accept(samples), given.format, shown)
        if live and (partial := stream.partial()) != shown:
            sys.stdout.write("\r\033[K" + partial)
            shown = partial
        sys.stdout.flush()
    _show(name, stream.finish(), given.format, shown)


def _show(name: str, segments: list[Segment], wanted: str, shown: str) -> str:
    """Write finished segments over what was `shown` of them; what is shown then."""
    for segment in segments:
        sys.stdout.write(("\r\033[K" if shown else "") + FORMATS[wanted](name, [segment]))
        shown = ""
    sys.stdout.flush()
    return shown
