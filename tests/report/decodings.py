"""Decodings with known errors, written by hand."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.corpus.manifest import read_manifest
from asr_kd.decoding.systems import recipe_systems
from asr_kd.scoring.transcripts import read_references, write_transcripts
from asr_kd.scoring.wer import count_errors, total

# Of systems that nobody looks at 0.6.
FRAME_ACCURACY = defaultdict[str, float](
    lambda: 0.6,
    {
        "gmm": 0.4,
        "member-0": 0.5,
        "member-1": 0.6,
        "ensemble": 0.65,
        "student": 0.625,
        "specialists": 0.61,
        "small": 0.55,
    },
)


def write_decodings(config: Config, work: Path, wrong: Mapping[str, int]) -> None:
    """Decode every system of a work folder to its references, the first word of some utterances deleted.

    Args:
        config: of the recipe.
        work: its folder, with stage data.
        wrong: by system, how many utterances lose a word.
    """
    for lm in config.lms:
        for system in recipe_systems(config, work):
            folder = work / "decode" / lm / system.name
            with artifacts.create(folder, {"kind": "decoding", "system": system.name, "lm": lm}) as partial:
                parts = {}
                for part in ("test", "dev"):
                    references = read_references(work / "data" / f"{part}.jsonl")
                    hypotheses = {
                        name: words[1:] if place < wrong[system.name] else words
                        for place, (name, words) in enumerate(references.items())
                    }
                    write_transcripts(partial / f"{part}.txt", hypotheses)
                    counts = total(count_errors(references, hypotheses).values())
                    parts[part] = {
                        **asdict(counts),
                        "errors": counts.errors,
                        "wer": counts.wer,
                        "utterances": len(references),
                        "not_final": 0,
                        "frames": 100,
                        "frame_accuracy": FRAME_ACCURACY[system.name],
                        "cross_entropy": 2 - FRAME_ACCURACY[system.name],
                    }
                metrics = {
                    "system": system.name,
                    "kind": system.kind,
                    "lm": lm,
                    "parameters": 1234,
                    "acoustic_scale": 0.1,
                    "beam": 10.0,
                    "max_active": 1000,
                    "parts": parts,
                }
                (partial / "metrics.json").write_text(json.dumps(metrics))
                frames = {
                    part: {
                        "utterances": {
                            utterance.id: _frames(FRAME_ACCURACY[system.name], place)
                            for place, utterance in enumerate(read_manifest(work / "data" / f"{part}.jsonl"))
                        },
                        "confused_senones": [[0, 1, 7], [2, 1, 3]],
                    }
                    for part in parts
                }
                (partial / "frames.json").write_text(json.dumps(frames))


def _frames(accuracy: float, place: int) -> tuple[int, float, float]:
    """Frames, correct ones and cross entropy of one utterance."""
    frames = 100 + 10 * place
    return frames, frames * accuracy, frames * (2 - accuracy)
