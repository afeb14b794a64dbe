"""`asr-kd compare` as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from asr_kd.report.compare import Compared
from asr_kd.report.headline import difference_in_words, p_in_words
from asr_kd.report.markdown import INTERVALS, UNITS, ends, percent, signed_ends, table


def render(found: Compared) -> str:
    """A table of the systems, the first of them the baseline, and what their differences are worth."""
    content = found.content
    blocks = [
        _systems(content),
        "\n".join(f"- {pair['system']}: {difference_in_words(pair)}." for pair in content["comparisons"]),
        _notes(content),
        *(f"> **Caution.** {caution}" for caution in content["cautions"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _systems(content: Mapping[str, Any]) -> str:
    pairs = {pair["system"]: pair for pair in content["comparisons"]}
    outside = any(system.get("out_of_vocabulary", {}).get("tokens") for system in content["systems"])
    units = UNITS if content["speakers"] else UNITS[:1]
    intervals = INTERVALS[: len(units)]
    rows = []
    for system in content["systems"]:
        kinds = " / ".join(str(system[kind]) for kind in ("substitutions", "deletions", "insertions"))
        cells = [
            system["name"],
            percent(system["wer"]),
            *(ends(system[f"by_{unit}"]) for unit in units),
            str(system["errors"]),
            kinds,
        ]
        if outside:
            cells.append(percent(system["out_of_vocabulary"]["known_wer"]))
        pair = pairs.get(system["name"])
        first = "baseline" if system["name"] == content["baseline"] else ""
        rows.append([*cells, *(_pair(pair, units) if pair else [first, *[""] * (6 + len(units))])])
    header = ["system", "WER %", *intervals, "errors", "S / D / I"]
    header += ["WER % in vocabulary"] if outside else []
    statistics = ("difference in points", *intervals, "better", "p", "p Holm")
    return table((*header, *statistics, "MAPSSWE p", "MAPSSWE p Holm", "detectable"), rows)


def _pair(pair: Mapping[str, Any], units: Sequence[str]) -> list[str]:
    test = pair["mapsswe"]
    return [
        f"{100 * pair['difference']['value']:+.2f}",
        *(signed_ends(pair[f"by_{unit}"]) for unit in units),
        f"{pair['improvement']:.2f}",
        *(p_in_words(p) for p in (pair["p"], pair["p_holm"], test["p"], test["p_holm"])),
        percent(pair["detectable"]),
    ]


def _notes(content: Mapping[str, Any]) -> str:
    speakers = f", {content['speakers']} speakers" if content["speakers"] else ""
    return (
        f"{content['words']:,} words, {content['utterances']:,} utterances{speakers}. Text: "
        f"{content['normalisation']}. Intervals: paired bootstrap; p: two-sided sign-flip test by "
        f"{content['by']}; MAPSSWE: matched pairs of sentence segments; Holm: corrected for all comparisons "
        "of this table. Detectable: the smallest true difference in points that is found 4 times out of 5."
    )
