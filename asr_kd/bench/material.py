"""What is measured, and on what."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from asr_kd.corpus.audio import audio_info
from asr_kd.corpus.manifest import Utterance


def choose_utterances(utterances: Sequence[Utterance], seconds: float) -> list[Utterance]:
    """Utterances of about so many seconds together, spread evenly; all of them if they are no longer."""
    known = [with_duration(utterance) for utterance in utterances]
    total = sum(utterance.duration_seconds or 0.0 for utterance in known)
    wanted = max(1, round(len(known) * min(1.0, seconds / total)))
    return [known[place * len(known) // wanted] for place in range(wanted)]


def with_duration(utterance: Utterance) -> Utterance:
    """The utterance, its duration looked up in the file where the manifest does not say it."""
    if utterance.duration_seconds is not None:
        return utterance
    return replace(utterance, duration_seconds=audio_info(utterance.audio).seconds - utterance.start_seconds)


def processor() -> str:
    """The processor's model, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
