"""The content of ``report.json`` (``docs/report_schema.md``): every rate a fraction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr_kd.config import Config
from asr_kd.report import breakdown
from asr_kd.report.comparisons import comparisons, report_cautions
from asr_kd.report.headline import answer, sentences
from asr_kd.report.provenance import provenance
from asr_kd.report.rates import FRAME_MEASURES, error_rates, gaps, mean_single
from asr_kd.report.results import PARTS, Decoded, Results
from asr_kd.report.sweep import temperature_sweeps

SCHEMA_VERSION = 1
# Stage data joins the words of a transcript by single spaces, and neither it nor scoring changes more.
NORMALISATION = (
    "none: words are what white space separates in the corpus's transcripts, and case, punctuation and "
    "Unicode form count, for all systems alike"
)


def build(config: Config, work: Path, results: Results, phones: Sequence[str]) -> dict[str, Any]:
    """Everything that ``report.md`` and ``report.html`` say in figures.

    Args:
        config: of the recipe.
        work: its folder.
        results: what stage decode left there.
        phones: the central phone of every senone; empty where it is not known.
    """
    lms = {lm: error_rates(config.seed, results, lm) for lm in results.decoded}
    headline = lms[results.lm]
    single = mean_single(results, headline)
    compared = comparisons(config, results)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "recipe": config.recipe,
        "corpus": config.data.corpus,
        "synthetic_speech": config.data.corpus == "mini",
        "lm": results.lm,
        "systems": [_system(entry, headline[entry.system.name], results) for entry in results.headline],
        "bench": _measured_on(results),
        "mean_single": single,
        "gap_closed": gaps(config.seed, results, single),
        **compared,
        "cautions": report_cautions(results, compared),
        "normalisation": NORMALISATION,
        "lms": lms,
        "speakers": breakdown.by_speaker(results),
        "confused_words": breakdown.confused_words(results),
        "missed_words": breakdown.missed_words(results),
        "confused_senones": breakdown.confused_senones(results),
        "confused_phones": breakdown.confused_phones(results, phones),
        "temperature_sweeps": temperature_sweeps(work),
        "provenance": provenance(config, work, results),
    }
    return {**content, "answer": answer(content), "headline": sentences(content)}


def _measured_on(results: Results) -> dict[str, Any] | None:
    keys = ("processor", "machine", "threads", "passes", "utterances", "audio_seconds")
    known = results.measured_on
    return {key: known[key] for key in keys} if known else None


def _system(entry: Decoded, rates: dict[str, Any], results: Results) -> dict[str, Any]:
    metrics = {}
    for part in PARTS:
        known = entry.metrics["parts"][part]
        frames = {name: known[name] for name in ("frames", *FRAME_MEASURES)}
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
