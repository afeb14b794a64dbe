"""Write the report of a recipe: ``report.json`` for programs, a page and Markdown for people."""

import json
from pathlib import Path

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.report import markdown, recipe_page
from asr_kd.report.breakdown import ERROR_KINDS
from asr_kd.report.contents import build
from asr_kd.report.figures import figures, write_pictures
from asr_kd.report.results import Results, load_results
from asr_kd.scoring.wer import Alignment

UTTERANCES_FILE = "utterances.jsonl"


def write(config: Config, work: Path) -> None:
    """Write ``report/`` from what train, distill, decode and (if it was run) bench left in `work`.

    Raises:
        AsrKdError: a system has not been decoded.
    """
    results = load_results(config, work)
    model = recipe_page.alignment_model(config, work)
    content = build(config, work, results, model.senone_phones() if model else ())
    made_from = artifacts.fingerprint(
        "report", {"seed": config.seed, "lm": results.lm}, content["provenance"]["fingerprints"]
    )
    with artifacts.create(work / "report", made_from) as folder:
        text = json.dumps(content, indent=1, allow_nan=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        _write_utterances(folder / UTTERANCES_FILE, results)
        drawn = figures(content, _single_models(results))
        page = recipe_page.render(config, work, content, results, drawn, model)
        (folder / "report.html").write_text(page, encoding="utf-8")
        pictures = write_pictures(folder, drawn)
        (folder / "report.md").write_text(markdown.render(content, pictures), encoding="utf-8")


def _single_models(results: Results) -> dict[str, Path]:
    systems = [entry.system for entry in results.headline]
    return {system.name: system.models[0] for system in systems if len(system.models) == 1}


def _write_utterances(path: Path, results: Results) -> None:
    """What was said and recognised in test, one JSON object an utterance: `asr-kd compare` reads it."""
    with path.open("w", encoding="utf-8") as file:
        for utterance in results.utterances["test"]:
            hypotheses = {
                entry.system.name: " ".join(
                    recognised
                    for _, recognised in entry.alignments["test"][utterance.id].pairs
                    if recognised is not None
                )
                for entry in results.headline
            }
            row = {
                "id": utterance.id,
                "speaker": utterance.speaker,
                "text": utterance.text,
                "hypotheses": hypotheses,
                "errors": {
                    entry.system.name: _errors(entry.alignments["test"][utterance.id])
                    for entry in results.headline
                },
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _errors(alignment: Alignment) -> dict[str, int]:
    return {kind: getattr(alignment.counts, kind) for kind in ERROR_KINDS}
