"""Any systems against each other, whoever trained them: the content of `asr-kd compare`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd.corpus.text import json_lines, read_lines
from asr_kd.errors import AsrKdError
from asr_kd.report.comparisons import statistics_json
from asr_kd.report.rates import intervals_json
from asr_kd.report.write import UTTERANCES_FILE
from asr_kd.scoring.inputs import Reference, Transcripts, read_hypotheses, read_reference
from asr_kd.scoring.normalise import Normalisation
from asr_kd.scoring.wer import Alignment, align_words, total
from asr_kd.scoring.words import out_of_vocabulary
from asr_kd.seeding import generator
from asr_kd.significance.comparison import TestSet, compare, rate_intervals
from asr_kd.significance.multiple import holm
from asr_kd.significance.power import cautions


@dataclass(frozen=True, eq=False)
class Compared:
    """Systems that recognised the same utterances.

    Attributes:
        content: for programs: what `compare_systems` found.
        reference: what was said, normalised.
        alignments: by system and utterance id.
    """

    content: dict[str, Any]
    reference: Reference
    alignments: dict[str, dict[str, Alignment]]


@dataclass(frozen=True)
class _Source:
    """An argument: a report, all its systems or one, or a file of hypotheses, perhaps with a name for it."""

    path: Path
    system: str | None = None
    name: str | None = None

    @classmethod
    def parse(cls, argument: str) -> "_Source":
        """``PATH``, ``REPORT:SYSTEM`` or either as ``NAME=...``; what exists is a path, whatever is in it."""
        name, equals, rest = argument.partition("=")
        if not equals or Path(argument).exists() or Path(argument.rpartition(":")[0] or argument).exists():
            name, rest = "", argument
        path, colon, system = rest.rpartition(":")
        if colon and not Path(rest).exists():
            return cls(Path(path), system, name or None)
        return cls(Path(rest), None, name or None)

    @property
    def utterances(self) -> Path | None:
        """The utterances of a report; None: this is no report."""
        folder = self.path.parent if self.path.name == "report.json" else self.path
        path = folder / UTTERANCES_FILE
        return path if path.is_file() else None

    def read(self, references: Transcripts) -> dict[str, Transcripts]:
        """Hypotheses by system."""
        if self.utterances is None:
            if self.path.is_dir() or self.path.suffix == ".json":
                raise AsrKdError(
                    f"{self.path} is no report: it has no {UTTERANCES_FILE} beside its report.json"
                )
            return {self.path.stem: read_hypotheses(self.path, references)}
        rows = list(json_lines(self.utterances))
        first = rows[0][1].get("hypotheses") if rows else None
        names = list(first) if isinstance(first, dict) else []
        if self.system is not None and self.system not in names:
            raise AsrKdError(f"{self.path}: no system {self.system!r}; there are {', '.join(names)}")
        chosen = names if self.system is None else [self.system]
        return {name: dict(_hypothesis(row, name, place) for place, row in rows) for name in chosen}


def _hypothesis(row: Mapping[str, Any], system: str, place: str) -> tuple[str, list[str]]:
    """Id and words of one utterance of a report."""
    try:
        return str(row["id"]), row["hypotheses"][system].split()
    except (KeyError, TypeError, AttributeError) as error:
        raise AsrKdError(f"{place}: no utterance with a hypothesis of {system} ({error!r})") from None


def compare_systems(
    systems: Sequence[str],
    reference: Path | None = None,
    speakers: Path | None = None,
    vocabulary: Path | None = None,
    normalisation: Normalisation | None = None,
    seed: int = 0,
) -> Compared:
    """Compare systems with the first one.

    Args:
        systems: reports (``REPORT`` for all of its systems or ``REPORT:SYSTEM``) and files of hypotheses.
        reference: what was said; none: what the first report says.
        speakers: a file ``id speaker``, where the reference does not say.
        vocabulary: a file whose lines begin with the words that can be recognised.
        normalisation: of references and hypotheses.
        seed: of the bootstrap.

    Raises:
        AsrKdError: a file is missing or malformed, systems recognised other utterances, or reports do not
            agree on what was said and no `reference` settles it.
    """
    sources = [_Source.parse(system) for system in systems]
    said = _reference(sources, reference, speakers)
    normalisation = normalisation or Normalisation()
    said = Reference(normalisation.transcripts(said.words), said.speakers)
    if reference is None:
        _check_references(sources, said, normalisation)
    hypotheses = _named([(source, source.read(said.words)) for source in sources])
    if len(hypotheses) < 2:
        raise AsrKdError(f"compare needs two systems or more, and {', '.join(hypotheses) or 'none'} is given")
    alignments = {}
    for name, transcripts in hypotheses.items():
        try:
            alignments[name] = align_words(said.words, normalisation.transcripts(transcripts))
        except AsrKdError as error:
            raise AsrKdError(f"{name}: {error}") from None
    known = normalisation.words(_read_vocabulary(vocabulary)) if vocabulary else None
    content = _content(alignments, said, normalisation, known, seed)
    return Compared(content, said, alignments)


def _reference(sources: Sequence[_Source], reference: Path | None, speakers: Path | None) -> Reference:
    if reference is None:
        reference = next((source.utterances for source in sources if source.utterances), None)
    if reference is None:
        raise AsrKdError("compare needs reference=FILE: no report among the systems says what was said")
    return read_reference(reference, speakers)


def _check_references(sources: Sequence[_Source], said: Reference, normalisation: Normalisation) -> None:
    for file in filter(None, (source.utterances for source in sources)):
        for name, words in normalisation.transcripts(read_reference(file).words).items():
            if said.words.get(name, words) != words:
                raise AsrKdError(
                    f"{file}, utterance {name}: its reference is {' '.join(words)!r}, but that of the first "
                    f"report {' '.join(said.words[name])!r}; give the one to score against: reference=FILE"
                )


def _named(read: Sequence[tuple[_Source, dict[str, Transcripts]]]) -> dict[str, Transcripts]:
    """All systems by a name each: the one given, else that of the report's system or file, or its path."""
    named = [
        (source, source.name if source.name and len(found) == 1 else name, transcripts)
        for source, found in read
        for name, transcripts in found.items()
    ]
    often = Counter(name for _, name, _ in named)
    unique = {
        name if often[name] == 1 else f"{source.path}:{name}": transcripts
        for source, name, transcripts in named
    }
    if len(unique) < len(named):
        raise AsrKdError("compare is given a system twice; give every system once, or names: NAME=PATH")
    return unique


def _read_vocabulary(path: Path) -> list[str]:
    return [line.split()[0] for line in read_lines(path)]


def _content(
    alignments: Mapping[str, Mapping[str, Alignment]],
    reference: Reference,
    normalisation: Normalisation,
    vocabulary: Sequence[str] | None,
    seed: int,
) -> dict[str, Any]:
    words = np.array([len(words) for words in reference.words.values()])
    if not words.sum():
        raise AsrKdError("the references have no words: there is no word error rate")
    speakers = tuple(reference.speakers.get(name, "") for name in reference.words)
    test_set = TestSet(words, speakers)
    baseline, *others = alignments
    compared = [_comparison(test_set, alignments, name, baseline, seed) for name in others]
    comparisons = [entry for entry in compared if entry is not None]
    for kind in (comparisons, [entry["mapsswe"] for entry in comparisons]):
        for entry, adjusted in zip(kind, holm([entry["p"] for entry in kind]), strict=True):
            entry["p_holm"] = adjusted
    known = frozenset(vocabulary) if vocabulary is not None else None
    return {
        "schema_version": 1,
        "baseline": baseline,
        "normalisation": normalisation.describe(),
        "utterances": len(words),
        "words": int(words.sum()),
        "speakers": test_set.speaker_count if reference.speakers else None,
        "by": test_set.by,
        "systems": [_system(test_set, name, alignments[name], known, seed) for name in alignments],
        "comparisons": comparisons,
        "cautions": cautions(
            len(words),
            test_set.speaker_count if reference.speakers else None,
            min((entry["mapsswe"]["segments"] for entry in comparisons), default=None),
        ),
    }


def _errors(alignments: Mapping[str, Alignment]) -> np.ndarray:
    return np.array([alignment.counts.errors for alignment in alignments.values()])


def _system(
    test_set: TestSet,
    name: str,
    alignments: Mapping[str, Alignment],
    vocabulary: frozenset[str] | None,
    seed: int,
) -> dict[str, Any]:
    counts = total(alignment.counts for alignment in alignments.values())
    found = rate_intervals(test_set, _errors(alignments), generator(seed, "compare"))
    content: dict[str, Any] = {
        "name": name,
        "wer": counts.wer,
        "errors": counts.errors,
        "words": counts.words,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        **intervals_json(test_set.by, found),
    }
    if vocabulary is not None:
        content["out_of_vocabulary"] = out_of_vocabulary(alignments.values(), vocabulary).to_json()
    return content


def _comparison(
    test_set: TestSet, alignments: Mapping[str, Mapping[str, Alignment]], name: str, baseline: str, seed: int
) -> dict[str, Any] | None:
    errors = _errors(alignments[name]), _errors(alignments[baseline])
    found = compare(
        test_set,
        *errors,
        generator(seed, "compare", baseline, name),
        slots=(
            [alignment.slots() for alignment in alignments[name].values()],
            [alignment.slots() for alignment in alignments[baseline].values()],
        ),
    )
    if found is None:
        return None
    counts = {"errors": int(errors[0].sum()), "baseline_errors": int(errors[1].sum())}
    return {"system": name, "baseline": baseline, "by": found.by, **counts, **statistics_json(found)}
