"""What decoding and benchmarking left behind, as the report reads it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.artifacts import Artifact
from asr_kd.config import Config
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.decoding.graph import read_words
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.scoring.transcripts import read_transcripts
from asr_kd.scoring.wer import Alignment, align_words
from asr_kd.significance.comparison import TestSet

PARTS = ("test", "dev")


@dataclass(frozen=True, eq=False)
class Decoded:
    """One system with one language model.

    Attributes:
        system: what was decoded.
        artifact: its folder.
        metrics: the content of ``metrics.json``.
        alignments: for every part those of the utterances, in the order of the part's manifest.
        frames: the content of ``frames.json``; empty in decodings made before there was one.
    """

    system: System
    artifact: Artifact
    metrics: dict[str, Any]
    alignments: dict[str, dict[str, Alignment]]
    frames: dict[str, Any]

    def errors(self, part: str) -> np.ndarray:
        """Word errors ``(utterances,)`` int64."""
        return np.array([alignment.counts.errors for alignment in self.alignments[part].values()])

    def slots(self, part: str) -> list[np.ndarray]:
        """The errors of every utterance in their places, for MAPSSWE."""
        return [alignment.slots() for alignment in self.alignments[part].values()]

    def frame_counts(self, part: str) -> np.ndarray | None:
        """Frames, correct frames and summed cross entropy, ``(utterances, 3)`` float64; None if unknown."""
        if part not in self.frames:
            return None
        known = self.frames[part]["utterances"]
        return np.array([known[name] for name in self.alignments[part]], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Results:
    """All systems of a recipe.

    Attributes:
        lm: the language model of the headline.
        decoded: by language model, the systems in the order of the report.
        utterances: of every part, in the order of its manifest.
        vocabulary: the words that can be recognised, by language model.
        bench: rows of ``bench.json`` by system, of those whose decoding is still the one that was measured.
        measured_on: what else ``bench.json`` says: processor, threads, audio; None where there are no rows.
    """

    lm: str
    decoded: dict[str, list[Decoded]]
    utterances: dict[str, list[Utterance]]
    vocabulary: dict[str, frozenset[str]]
    bench: dict[str, dict[str, Any]]
    measured_on: dict[str, Any] | None

    @property
    def headline(self) -> list[Decoded]:
        """The systems with the language model of the headline."""
        return self.decoded[self.lm]

    @cached_property
    def members(self) -> list[int]:
        """The places of the ensemble's members in every list of systems."""
        return [place for place, entry in enumerate(self.headline) if entry.system.kind == "member"]

    def of_kind(self, *kinds: str) -> list[Decoded]:
        """The systems of some kinds, with the language model of the headline."""
        return [entry for entry in self.headline if entry.system.kind in kinds]

    @cached_property
    def test_sets(self) -> dict[str, TestSet]:
        """Words and speakers of every part."""
        return {
            part: TestSet(
                np.array([len(utterance.words) for utterance in utterances]),
                tuple(utterance.speaker for utterance in utterances),
            )
            for part, utterances in self.utterances.items()
        }


def headline_lm(config: Config) -> str:
    """The language model that the report's headline is about.

    Raises:
        AsrKdError: the recipe has no such language model.
    """
    name = config.decode.lm or next(iter(config.lms), None)
    if name not in config.lms:
        raise AsrKdError(
            f"decode.lm={name}: there is no such language model; there are {', '.join(config.lms)}"
        )
    return name


def load_results(config: Config, work: Path) -> Results:
    """Read the decodings of all systems and language models, and the benchmark where there is one.

    Raises:
        AsrKdError: a decoding is missing: run stage decode.
    """
    manifests = {part: read_manifest(work / "data" / f"{part}.jsonl") for part in PARTS}
    references = {
        part: {utterance.id: utterance.words for utterance in utterances}
        for part, utterances in manifests.items()
    }
    systems = recipe_systems(config, work)
    decoded = {
        lm: [_load_decoded(work / "decode" / lm / system.name, system, references) for system in systems]
        for lm in config.lms
    }
    lm = headline_lm(config)
    measured_on, rows = _load_bench(work / "bench", decoded[lm])
    return Results(
        lm,
        decoded,
        manifests,
        {name: frozenset(read_words(work / "align" / f"graph-{name}").values()) for name in config.lms},
        rows,
        measured_on if rows else None,
    )


def _load_decoded(folder: Path, system: System, references: dict[str, dict[str, list[str]]]) -> Decoded:
    artifact = Artifact(folder)
    artifact.verify(hashes=False)
    frames = folder / "frames.json"
    return Decoded(
        system,
        artifact,
        json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
        {part: align_words(references[part], read_transcripts(folder / f"{part}.txt")) for part in PARTS},
        json.loads(frames.read_text(encoding="utf-8")) if frames.is_file() else {},
    )


def _load_bench(folder: Path, decoded: list[Decoded]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    path = folder / "bench.json"
    if not path.is_file():
        return {}, {}
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["system"]: row for row in content.pop("systems")}
    # A speed counts only beside the WER of the very same system: decoded anew, measured anew.
    return content, {
        entry.system.name: rows[entry.system.name]
        for entry in decoded
        if entry.system.name in rows and rows[entry.system.name]["decoding"] == entry.artifact.digest
    }
