"""Finds everything that is wrong with a corpus, and names it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from asr_kd.artifacts import replace_file
from asr_kd.corpus.audio import RAW_SUFFIX, read_audio
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.pronounce import Completion, listed
from asr_kd.corpus.truncation import truncation
from asr_kd.errors import AsrKdError
from asr_kd.jobs import map_processes
from asr_kd.progress import say

SHOWN = 20  # problems shown in the error; all are in the file
CHUNK = 64  # utterances handed to a worker at a time
SILENT_RANGE = 2 / 32768  # audio that stays within one step of 16 bits holds no speech


@dataclass(frozen=True)
class Problem:
    """Something wrong with a corpus.

    Attributes:
        kind: one or two words, the same for all problems of a kind.
        message: what is wrong, and with which file.
        part: train, dev or test; empty where it is about more than one.
        utterance: whose problem it is; empty where it is not about one utterance, so that skipping
            utterances does not mend it.
        place: of the utterance among those of its part.
    """

    kind: str
    message: str
    part: str = ""
    utterance: str = ""
    place: int = -1

    def __str__(self) -> str:
        where = f"{self.part} {self.utterance}".strip()
        return f"{where}: {self.kind}: {self.message}" if where else f"{self.kind}: {self.message}"


def check_manifests(parts: Mapping[str, Sequence[Utterance]]) -> list[Problem]:
    """Ids that occur twice or hold spaces, empty transcripts, speakers in two parts, empty parts."""
    problems = [Problem("empty part", f"{part} has no utterances") for part in parts if not parts[part]]
    seen: dict[str, str] = {}
    for part, place, utterance in _places(parts):
        named = partial(Problem, part=part, utterance=utterance.id, place=place)
        if utterance.id in seen:
            problems.append(named("duplicate id", f"the id occurs in {seen[utterance.id]} already"))
        seen.setdefault(utterance.id, part)
        if not utterance.id or any(character.isspace() for character in utterance.id):
            problems.append(named("bad id", f"the id {utterance.id!r} is empty or holds white space"))
        if not utterance.words:
            problems.append(named("empty transcript", f"{utterance.audio} has no transcript"))
    return problems + _shared_speakers(parts)


def check_words(
    parts: Mapping[str, Sequence[Utterance]], sentences: Sequence[str], lexicon: Lexicon
) -> list[Problem]:
    """Words of transcripts and language-model text that the lexicon lacks."""
    problems = []
    for part, place, utterance in _places(parts):
        missing = sorted({word for word in utterance.words if word not in lexicon})
        if missing:
            message = f"no pronunciation for {listed([_with_hint(word, lexicon) for word in missing])}"
            problems.append(Problem("missing word", message, part, utterance.id, place))
    unknown = sorted({word for sentence in sentences for word in sentence.split() if word not in lexicon})
    if unknown:
        message = f"{len(unknown)} words of the language-model text have no pronunciation: {listed(unknown)}"
        problems.append(Problem("missing word", message))
    return problems


def check_audio(
    parts: Mapping[str, Sequence[Utterance]], sample_rate: int, resample: bool, workers: int
) -> tuple[dict[str, list[Utterance]], list[Problem]]:
    """Decode the audio of every utterance.

    Returns:
        The utterances with their durations filled in (where the audio could be read), and the problems.
    """
    # Pieces of one recording go to one worker, which looks at the whole file once.
    entries = sorted(_places(parts), key=lambda entry: (entry[2].audio, entry[2].start_seconds))
    chunks = [entries[start : start + CHUNK] for start in range(0, len(entries), CHUNK)]
    check = partial(_check_chunk, sample_rate=sample_rate, resample=resample)
    measured = {part: list(utterances) for part, utterances in parts.items()}
    problems: list[Problem] = []
    for position, results in map_processes(
        check, [[e[2] for e in chunk] for chunk in chunks], workers, "audio"
    ):
        for (part, place, utterance), result in zip(chunks[position], results, strict=True):
            if isinstance(result, float):
                measured[part][place] = replace(utterance, duration_seconds=result)
            else:
                problems.append(Problem(*result, part, utterance.id, place))
    order = list(parts)
    return measured, sorted(problems, key=lambda problem: (order.index(problem.part), problem.place))


def check_frames(
    parts: Mapping[str, Sequence[Utterance]], frames_of: Callable[[float], int]
) -> list[Problem]:
    """Utterances too short for a single frame; `frames_of` counts the frames of so many seconds."""
    return [
        Problem("too short", f"{seconds:.4f} s of {utterance.audio} give no frame", part, utterance.id, place)
        for part, place, utterance in _places(parts)
        if (seconds := utterance.duration_seconds) is not None and not frames_of(seconds)
    ]


def check_transcript_lengths(
    parts: Mapping[str, Sequence[Utterance]],
    frames_of: Callable[[float], int],
    lexicon: Lexicon,
    states_a_phone: int,
) -> list[Problem]:
    """Utterances with fewer frames than their words have states: nothing can align them."""
    phones = {word: min(map(len, entry)) for word, entry in lexicon.entries.items()}
    problems = []
    for part, place, utterance in _places(parts):
        frames = frames_of(utterance.duration_seconds or 0.0)
        needed = states_a_phone * sum(phones[word] for word in utterance.words)
        if frames < needed:
            message = f"{frames} frames, but its {len(utterance.words)} words take {needed} or more"
            message += f"; {utterance.audio} or its transcript is wrong, and no frame of it will have a label"
            problems.append(Problem("too short for its transcript", message, part, utterance.id, place))
    return problems


def without(
    parts: Mapping[str, Sequence[Utterance]], problems: Collection[Problem]
) -> dict[str, list[Utterance]]:
    """The utterances that have no problem."""
    bad = {(problem.part, problem.place) for problem in problems if problem.utterance}
    kept: dict[str, list[Utterance]] = {part: [] for part in parts}
    for part, place, utterance in _places(parts):
        if (part, place) not in bad:
            kept[part].append(utterance)
    return kept


def pronounced_words(completion: Completion, lexicon: Lexicon | None) -> list[Problem]:
    """A warning for every word that is given a pronunciation; those by rule first, which deserve a look.

    Without a lexicon cmudict is the lexicon, and only what it lacks is listed.
    """
    sources = {"letter-to-sound rules say": completion.by_rule}
    if lexicon is not None:
        sources["cmudict says"] = completion.from_dictionary
    return [
        Problem("missing word", f"{_with_hint(word, lexicon)} is not in the lexicon; {source} {spoken}")
        for source, words in sources.items()
        for word in words
        if (spoken := " or ".join(" ".join(phones) for phones in completion.lexicon.entries[word]))
    ]


def refuse(problems: Sequence[Problem], path: Path, advice: str = "") -> None:
    """Write all problems to `path` and raise an error that shows the first of them, if there are any.

    Raises:
        AsrKdError: there are problems.
    """
    if listing := _write_listing("problems", problems, path):
        raise AsrKdError(f"{listing}{advice}")


def set_aside(problems: Sequence[Problem], path: Path) -> None:
    """Write the problems of utterances that are left out to `path` and say the first, if there are any."""
    if listing := _write_listing("utterances that are left out", problems, path):
        say(listing)


def warn(warnings: Sequence[Problem], path: Path) -> None:
    """Write all warnings to `path` and say the first of them, if there are any."""
    if listing := _write_listing("warnings", warnings, path):
        say(listing)


def _write_listing(what: str, problems: Sequence[Problem], path: Path) -> str:
    """All of them into a file, the first of them as a text; none: no text, and no file left of before."""
    if not problems:
        path.unlink(missing_ok=True)
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        temporary.write_text("".join(f"{problem}\n" for problem in problems), encoding="utf-8")
    kinds = Counter(problem.kind for problem in problems)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines = [f"the corpus has {len(problems)} {what} ({counts}):"]
    # What concerns the whole corpus comes first: it must not drown among the utterances.
    shown = sorted(problems, key=lambda problem: bool(problem.utterance))[:SHOWN]
    lines += [f"  {problem}" for problem in shown]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more")
    return "\n".join([*lines, f"all of them are in {path}"])


def _places(parts: Mapping[str, Sequence[Utterance]]) -> Iterator[tuple[str, int, Utterance]]:
    for part, utterances in parts.items():
        for place, utterance in enumerate(utterances):
            yield part, place, utterance


def _shared_speakers(parts: Mapping[str, Sequence[Utterance]]) -> list[Problem]:
    where: dict[str, set[str]] = defaultdict(set)
    for part, _, utterance in _places(parts):
        where[utterance.speaker].add(part)
    return [
        Problem(
            "shared speaker", f"speaker {speaker} is in {' and '.join(sorted(found))}; leave one of them out"
        )
        for speaker, found in sorted(where.items())
        if len(found) > 1
    ]


def _with_hint(word: str, lexicon: Lexicon | None) -> str:
    if lexicon is None:
        return word
    other = next((form for form in (word.upper(), word.lower()) if form in lexicon), None)
    return f"{word} (the lexicon has {other})" if other else word


def _check_chunk(
    utterances: Sequence[Utterance], sample_rate: int, resample: bool
) -> list[float | tuple[str, str]]:
    return [_check_utterance(utterance, sample_rate, resample) for utterance in utterances]


def _check_utterance(utterance: Utterance, sample_rate: int, resample: bool) -> float | tuple[str, str]:
    """The duration in seconds, or kind and message of the first problem with the audio."""
    try:
        waveform = read_audio(utterance, sample_rate, resample)
    except AsrKdError as error:
        message = str(error).removeprefix(f"utterance {utterance.id}: ")
        return "sample rate" if "hertz" in message else "audio", message
    if shorter := _truncation(utterance.audio):
        return "audio", f"{utterance.audio} is truncated: {shorter}"
    if np.ptp(waveform) < SILENT_RANGE:
        return "silent audio", f"{utterance.audio} holds nothing but a constant value"
    if Path(utterance.audio).suffix.lower() == RAW_SUFFIX and _looks_swapped(waveform):
        return "audio", f"{utterance.audio} looks little-endian; headerless audio must be big-endian"
    return len(waveform) / sample_rate


@lru_cache(maxsize=1)
def _truncation(audio: str) -> str | None:
    return truncation(Path(audio))


def _looks_swapped(waveform: np.ndarray) -> bool:
    """Whether 16-bit samples (read as floats, ``(samples,)``) are far smoother with their bytes exchanged.

    Neighbouring samples of speech are alike; with the bytes in the wrong order they look like white noise.
    """
    samples = (waveform * 32768).astype(np.int16)
    return _roughness(samples.byteswap()) < 0.6 * _roughness(samples)


def _roughness(samples: np.ndarray) -> float:
    samples = samples.astype(np.float64)
    return float(np.abs(np.diff(samples)).mean() / np.abs(samples).mean().clip(1))
