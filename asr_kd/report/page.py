"""Pages of one self-contained HTML file: style, script and pictures are in it, and nothing is fetched."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from omegaconf import OmegaConf

from asr_kd.report.alignment_grid import DELETION, INSERTION, SUBSTITUTION, grid, kinds
from asr_kd.report.headline import difference_in_words, p_in_words, tuning_in_words, verdict
from asr_kd.report.markdown import (
    errors_in_words,
    gap_cells,
    intervals_note,
    percent,
    speed_note,
    stages_in_words,
    training_note,
)
from asr_kd.report.theme import DARK, LIGHT, system_colours, variables
from asr_kd.scoring.wer import Alignment

MOST_CHANGED = 60  # utterances that a page shows


def render(template: str, systems: Mapping[str, str], **content: Any) -> str:
    """A page.

    Args:
        template: of the folder ``templates``.
        systems: the kind of every system, which decides its colour.
        content: what the template needs. Text is escaped: transcripts and names may hold anything.
    """
    loader = PackageLoader("asr_kd.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": percent,
        "points": lambda difference: f"{100 * difference:+.2f}",
        "p": p_in_words,
        "in_words": difference_in_words,
        "verdict": verdict,
        "tuning_in_words": tuning_in_words,
        "errors": errors_in_words,
        "gap_cells": gap_cells,
        "intervals_note": intervals_note,
        "speed_note": speed_note,
        "stages_in_words": stages_in_words,
        "training_note": training_note,
        "unbroken": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
        "yaml": lambda settings: OmegaConf.to_yaml(OmegaConf.create(settings)),
        "error_kinds": _error_kinds,
    }
    environment.filters |= filters
    colours = {name: f"var(--{colour})" for name, colour in system_colours(systems).items()}
    colours["mean_single"] = "var(--member)"
    style = {"light": Markup(variables(LIGHT)), "dark": Markup(variables(DARK))}
    return environment.get_template(template).render(colours=colours, **style, **content)


def changed_utterances(
    alignments: Mapping[str, Mapping[str, Alignment]],
    speakers: Mapping[str, str],
    picture: Callable[[str], Markup | None] = lambda name: None,
    most: int = MOST_CHANGED,
) -> list[dict[str, Any]]:
    """The utterances on which systems differ most in errors, then those with most errors; for the templates.

    Args:
        alignments: by system and utterance id; those with an error only are shown.
        speakers: of the utterances; may be empty.
        picture: what to show below an utterance.
        most: how many.
    """
    counts = {
        name: {system: own[name].counts.errors for system, own in alignments.items()}
        for name in next(iter(alignments.values()))
    }
    wrong = [name for name, own in counts.items() if any(own.values())]
    wrong.sort(
        key=lambda name: (
            min(counts[name].values()) - max(counts[name].values()),
            -sum(counts[name].values()),
        )
    )
    return [
        {
            "id": name,
            "speaker": speakers.get(name, ""),
            "counts": counts[name],
            "errors": {system: kinds(own[name]) for system, own in alignments.items()},
            "rows": list(
                zip(["reference", *alignments], grid([own[name] for own in alignments.values()]), strict=True)
            ),
            "picture": picture(name),
        }
        for name in wrong[:most]
    ]


def _error_kinds(row: Mapping[str, Any]) -> Sequence[str]:
    return [kind for kind in (SUBSTITUTION, DELETION, INSERTION) if row[f"{kind}s"]]
