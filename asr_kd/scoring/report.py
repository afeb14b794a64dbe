"""The report of a recipe: ``report.json`` for programs, ``report.md`` and pictures for people."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.scoring import figures, markdown
from asr_kd.scoring.provenance import provenance
from asr_kd.scoring.results import PARTS, Decoded, Results, load_results
from asr_kd.scoring.significance import Interval, bootstrap_rates, difference_interval, interval, sign_flip_p
from asr_kd.seeding import generator

SCHEMA_VERSION = 1
# With fewer speakers than this, resampling whole speakers says little; utterances are resampled instead.
FEW_SPEAKERS = 20
_COUNTS = ("wer", "errors", "words", "substitutions", "deletions", "insertions", "utterances", "not_final")
_FRAME_MEASURES = {"frame_accuracy": True, "cross_entropy": False}  # whether more is better


def write(config: Config, work: Path) -> None:
    """Write ``report/`` from what train, distill, decode and (if it was run) bench left in `work`.

    Raises:
        AsrKdError: a system has not been decoded.
    """
    results = load_results(config, work)
    content = build(config, work, results)
    made_from = artifacts.fingerprint(
        "report", {"seed": config.seed, "lm": results.lm}, content["provenance"]["fingerprints"]
    )
    with artifacts.create(work / "report", made_from) as folder:
        text = json.dumps(content, indent=1, allow_nan=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        pictures = figures.draw(folder, content, work)
        (folder / "report.md").write_text(markdown.render(content, pictures), encoding="utf-8")


def build(config: Config, work: Path, results: Results) -> dict[str, Any]:
    """The content of ``report.json`` (``docs/report_schema.md``): every rate a fraction."""
    lms = {lm: _error_rates(config.seed, results, lm) for lm in results.decoded}
    headline = lms[results.lm]
    mean_single = _mean_single(results, headline)
    systems = [_system(entry, headline[entry.system.name], results) for entry in results.headline]
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": config.recipe,
        "corpus": config.data.corpus,
        "synthetic_speech": config.data.corpus == "mini",
        "lm": results.lm,
        "systems": systems,
        "mean_single": mean_single,
        "gap_closed": _gaps(systems, mean_single),
        "comparisons": _comparisons(config.seed, results),
        "lms": lms,
        "provenance": provenance(config, work, results),
    }


def _error_rates(seed: int, results: Results, lm: str) -> dict[str, dict[str, Any]]:
    """By system (and ``mean_single``) and part: WER, counts and interval."""
    names = [entry.system.name for entry in results.decoded[lm]]
    rates: dict[str, dict[str, Any]] = {name: {} for name in (*names, "mean_single")}
    for part in PARTS:
        by = "speaker" if len(set(results.speakers[part].values())) >= FEW_SPEAKERS else "utterance"
        errors, words = results.units(lm, part, by)
        samples = bootstrap_rates(errors, words, generator(seed, "report", lm, part))
        for place, entry in enumerate(results.decoded[lm]):
            known = entry.metrics["parts"][part]
            found = interval(known["wer"], samples[:, place])
            rates[entry.system.name][part] = {name: known[name] for name in _COUNTS}
            rates[entry.system.name][part]["interval"] = _interval_json(found) | {"by": by}
        mean = errors[:, results.members].sum(axis=0).mean()
        found = interval(float(mean / words.sum()), samples[:, results.members].mean(axis=1))
        rates["mean_single"][part] = {
            "wer": found.value,
            "errors": float(mean),
            "words": int(words.sum()),
            "interval": _interval_json(found) | {"by": by},
        }
    return rates


def _system(entry: Decoded, rates: dict[str, Any], results: Results) -> dict[str, Any]:
    metrics = {}
    for part in PARTS:
        known = entry.metrics["parts"][part]
        frames = {name: known[name] for name in ("frames", *_FRAME_MEASURES)}
        metrics[part] = rates[part] | frames
    system = {
        "name": entry.system.name,
        "kind": entry.system.kind,
        "parameters": entry.metrics["parameters"],
        "acoustic_scale": entry.metrics["acoustic_scale"],
        "beam": entry.metrics["beam"],
        "metrics": metrics,
    }
    measured = results.bench.get(entry.system.name)
    if measured:
        phases = ("features", "acoustic", "search", "total")
        system["rtf"] = {phase: measured["rtf"][phase]["median"] for phase in phases}
    alike = [
        name for name, row in results.bench.items() if system["name"] in row.get("same_architecture", [])
    ]
    if alike and not measured:
        system["rtf_of"] = alike[0]
    return system


def _mean_single(results: Results, headline: dict[str, Any]) -> dict[str, Any]:
    members = [results.headline[place] for place in results.members]
    metrics = {}
    for part in PARTS:
        known = [entry.metrics["parts"][part] for entry in members]
        frames = {name: _mean([row[name] for row in known]) for name in _FRAME_MEASURES}
        metrics[part] = headline["mean_single"][part] | frames
    return {"members": [entry.system.name for entry in members], "metrics": metrics}


def _gaps(systems: list[dict[str, Any]], mean_single: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """How much of the ensemble's gain on test each student keeps, by measure of frames."""
    ensembles = [system for system in systems if system["kind"] == "ensemble"]
    students = [system for system in systems if system["kind"] == "student"]
    if not ensembles:
        return {student["name"]: dict.fromkeys(_FRAME_MEASURES) for student in students}
    single, ensemble = mean_single["metrics"]["test"], ensembles[0]["metrics"]["test"]
    return {
        student["name"]: {
            name: gap_closed(student["metrics"]["test"][name], single[name], ensemble[name], more_is_better)
            for name, more_is_better in _FRAME_MEASURES.items()
        }
        for student in students
    }


def gap_closed(
    student: float | None, single: float | None, ensemble: float | None, more_is_better: bool
) -> float | None:
    """(student - single) / (ensemble - single); none where a value or the gain is missing."""
    if student is None or single is None or ensemble is None:
        return None
    gain = ensemble - single if more_is_better else single - ensemble
    return (student - single) / (ensemble - single) if gain > 0 else None


def _comparisons(seed: int, results: Results) -> list[dict[str, Any]]:
    """Ensemble and students against the mean single network, on test, paired by utterance."""
    errors, words = results.units(results.lm, "test", "utterance")
    members = errors[:, results.members]
    compared = []
    for place, entry in enumerate(results.headline):
        if entry.system.kind not in {"ensemble", "student"}:
            continue
        name = entry.system.name
        draws = generator(seed, "report", "comparison", name)
        found = difference_interval(errors[:, place], members.mean(axis=1), words, draws)
        compared.append(
            {
                "system": name,
                "baseline": "mean_single",
                "part": "test",
                "by": "utterance",
                "errors": int(errors[:, place].sum()),
                "baseline_errors": float(members.sum() / members.shape[1]),
                "words": int(words.sum()),
                "difference": _interval_json(found) | {"value": found.value},
                # Times the number of members: whole numbers, and the same test.
                "p": sign_flip_p(errors[:, place] * members.shape[1] - members.sum(axis=1)),
            }
        )
    return compared


def _interval_json(found: Interval) -> dict[str, Any]:
    return {"low": found.low, "high": found.high}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
