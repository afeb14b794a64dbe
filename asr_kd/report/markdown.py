"""``report.md``: the content of ``report.json`` for people, rates in percent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asr_kd.config.stages import STAGES
from asr_kd.report.headline import p_in_words, tuning_in_words

UNITS = ("utterance", "speaker")
INTERVALS = tuple(f"95 % by {unit}" for unit in UNITS)
# What the Holm corrections of a report are for.
FAMILIES = (
    "those against the mean single network and the ensemble are one, those of every other table another"
)
GAP_MEASURES = ("frame_accuracy", "cross_entropy")


def render(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        report: the content of ``report.json``.
        pictures: file names of the pictures by their captions.
    """
    blocks = [
        f"# {report['recipe']}: word error rates",
        *_synthetic(report),
        *([f"**Did we lose anything?** {' '.join(report['answer'])}"] if report["answer"] else []),
        "\n".join(f"- {sentence}" for sentence in report["headline"]),
        f"Language model `{report['lm']}`. {tuning_in_words(report['provenance']['settings']['decode'])} "
        f"Text normalisation: {report['normalisation']}.",
        "## Test",
        _part_table(report, "test"),
        "## Dev",
        _part_table(report, "dev"),
        _note(report),
        *_vocabulary(report),
        *_comparisons(report),
        *_gaps(report),
        *_other_lms(report),
        *_speed(report),
        *(_picture(caption, file, report) for caption, file in pictures.items()),
        _provenance(report["provenance"]),
    ]
    return "\n\n".join(blocks) + "\n"


def _picture(caption: str, file: str, report: Mapping[str, Any]) -> str:
    note = training_note(report) if caption == "Training" else ""
    return f"## {caption}\n\n![{caption}]({file})" + (f"\n\n{note}" if note else "")


def training_note(report: Mapping[str, Any]) -> str:
    """What the curves of training leave out; empty where they are whole."""
    pruned = [system["name"] for system in report["systems"] if system["kind"] == "pruned"]
    return f"Of pruned networks ({', '.join(pruned)}) the last round alone is shown." if pruned else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _synthetic(report: Mapping[str, Any]) -> list[str]:
    if not report["synthetic_speech"]:
        return []
    return [
        "> **Synthetic speech: a smoke test.** These figures show that the program works, and nothing else."
    ]


def _part_table(report: Mapping[str, Any], part: str) -> str:
    counted = ("errors", "S / D / I", "words", "frame accuracy %", "cross entropy")
    rows = []
    for system in report["systems"]:
        metrics = system["metrics"][part]
        kinds = " / ".join(str(metrics[kind]) for kind in ("substitutions", "deletions", "insertions"))
        name = system["name"] + (f" ({metrics['not_final']} not final)" if metrics["not_final"] else "")
        counts = (str(metrics["errors"]), kinds, str(metrics["words"]))
        rows.append((name, f"{system['parameters']:,}", *_rate(metrics), *counts, *_frames(metrics)))
        if system["name"] == report["mean_single"]["members"][-1]:
            mean = report["mean_single"]["metrics"][part]
            counts = (errors_in_words(mean["errors"]), "", str(mean["words"]))
            rows.append(("**mean single**", "", *_rate(mean), *counts, *_frames(mean)))
    return table(("system", "parameters", "WER %", *INTERVALS, *counted), rows)


def _rate(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    return percent(metrics["wer"]), *(ends(metrics[f"by_{unit}"]) for unit in UNITS)


def _frames(metrics: Mapping[str, Any]) -> tuple[str, str]:
    entropy = metrics["cross_entropy"]
    return percent(metrics["frame_accuracy"]), "-" if entropy is None else f"{entropy:.3f}"


def ends(interval: Mapping[str, Any] | None) -> str:
    """Of an interval of rates; a dash where there is none."""
    return f"{percent(interval['low'])} - {percent(interval['high'])}" if interval else "-"


def signed_ends(interval: Mapping[str, Any] | None) -> str:
    """Of an interval of differences, in points; a dash where there is none."""
    return f"{100 * interval['low']:+.2f} ... {100 * interval['high']:+.2f}" if interval else "-"


def percent(fraction: float | None) -> str:
    """Two decimals, without the sign; a dash where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _note(report: Mapping[str, Any]) -> str:
    return (
        f"{intervals_note(report)} Frame accuracy and cross entropy (nats a frame) are against the labels of "
        "stage align; the GMM's posteriors are those of Bayes' rule. Not final: utterances whose best path "
        "ended in no final state."
    )


def intervals_note(report: Mapping[str, Any]) -> str:
    """How the intervals of error rates were made, and how far to trust them."""
    parts = {part: own["interval"] for part, own in report["mean_single"]["metrics"].items()}
    few = [part for part, interval in parts.items() if interval and interval["by"] == "utterance"]
    note = "Intervals: 95 % bootstrap, with utterances or with speakers resampled; one alone has none."
    if few:
        note += (
            f" Speakers of {' and '.join(few)} are few: intervals by utterance leave out how much speakers "
            "differ, those by speaker are rough."
        )
    return note


def _vocabulary(report: Mapping[str, Any]) -> list[str]:
    known = {system["name"]: system["metrics"]["test"]["out_of_vocabulary"] for system in report["systems"]}
    tokens = next(iter(known.values()))["tokens"]
    if not tokens:
        return ["Every word of test can be recognised."]
    rates = ", ".join(f"{name} {percent(row['known_wer'])}" for name, row in known.items())
    return [
        f"{tokens} words of test are not in the vocabulary and always errors. WER % of the others: {rates}."
    ]


def _comparisons(report: Mapping[str, Any]) -> list[str]:
    blocks = []
    if report["comparisons"]:
        blocks += ["## Against the mean single network", _comparison_table(report["comparisons"])]
    if report["pairs"]:
        blocks += ["## Against the ensemble", _comparison_table(report["pairs"])]
    if report["compressed"]:
        baseline = report["compressed"][0]["baseline"].replace("mean_single", "mean single network")
        blocks += [
            f"## Compressed networks against the {baseline}",
            _comparison_table(report["compressed"]),
        ]
    if report["against_source"]:
        title = "## Compressed networks against what they were made of"
        blocks += [title, _comparison_table(report["against_source"], show_baseline=True)]
    if report["against_controls"]:
        title = "## Soft targets against the labels of the same transcribed speech alone"
        blocks += [title, _comparison_table(report["against_controls"], show_baseline=True)]
    if report["against_generalist"]:
        title = f"## Against the generalist, {report['against_generalist'][0]['baseline']}"
        blocks += [title, _comparison_table(report["against_generalist"])]
    if report["against_gmm"]:
        blocks += ["## Networks against the GMM", _comparison_table(report["against_gmm"])]
    if blocks:
        blocks.append(
            f"Test, paired by {report['comparisons'][0]['by']}: bootstrap intervals; errors of the system "
            "and of the baseline; probability that the system is better; p of the exact two-sided sign-flip "
            "test and of MAPSSWE (matched pairs of sentence segments), each with its Holm correction for all "
            f"of a family: {FAMILIES}. An interval that holds 0 decides nothing. Detectable: the smallest "
            "true difference that is found 4 times out of 5."
        )
    return [*blocks, *(f"> **Caution.** {caution}" for caution in report["cautions"])]


def _comparison_table(entries: Sequence[Mapping[str, Any]], show_baseline: bool = False) -> str:
    rows = [
        (
            entry["system"].replace("mean_single", "mean single"),
            *([entry["baseline"]] if show_baseline else []),
            f"{100 * entry['difference']['value']:+.2f}",
            *(signed_ends(entry[f"by_{unit}"]) for unit in UNITS),
            " : ".join(errors_in_words(entry[key]) for key in ("errors", "baseline_errors")),
            f"{entry['improvement']:.2f}",
            *(p_values(test) for test in (entry, entry.get("mapsswe"))),
            percent(entry["detectable"]),
        )
        for entry in entries
    ]
    baseline = ["baseline"] if show_baseline else []
    header = ("system", *baseline, "difference in points", *INTERVALS, "errors", "better")
    return table((*header, "p (Holm)", "MAPSSWE p (Holm)", "detectable"), rows)


def errors_in_words(errors: float) -> str:
    """Errors of a system, or of the mean of several, which are not a whole number."""
    return f"{errors:.1f}".removesuffix(".0")


def p_values(test: Mapping[str, Any] | None) -> str:
    """Of a test, plain and corrected; a dash where it was not done."""
    return f"{p_in_words(test['p'])} ({p_in_words(test['p_holm'])})" if test else "-"


def _gaps(report: Mapping[str, Any]) -> list[str]:
    if not report["gap_closed"]:
        return []
    rows = [
        (name, *(cell for key in GAP_MEASURES for cell in gap_cells(gap, key)))
        for name, gap in report["gap_closed"].items()
    ]
    header = [cell for key in GAP_MEASURES for cell in (f"in {key.replace('_', ' ')}", *INTERVALS)]
    return [
        "## Gap closed",
        table(("student", *header), rows),
        "(student - mean single) / (ensemble - mean single) on test: 0 % is a single network, 100 % the "
        "ensemble; with 95 % bootstrap intervals. It is said to be not clear where the ensemble's own gain "
        "is not above 0 in its whole interval.",
    ]


def gap_cells(gap: Mapping[str, Any], measure: str) -> list[str]:
    """The share that is closed and its intervals by utterance and by speaker, in percent."""
    if gap[measure] is None:
        return ["-"] * 3
    # The share of a gain that may be nothing can be anything.
    intervals = [(gap[f"by_{unit}"] or {}).get(measure) for unit in UNITS]
    known = gap["intervals"][measure] is not None
    ends = [f"{100 * one['low']:.0f} - {100 * one['high']:.0f} %" if one else "-" for one in intervals]
    return [f"{100 * gap[measure]:.0f} %" if known else "not clear", *ends]


def _other_lms(report: Mapping[str, Any]) -> list[str]:
    others = [lm for lm in report["lms"] if lm != report["lm"]]
    if not others:
        return []
    names = [system["name"] for system in report["systems"]]
    members = report["mean_single"]["members"]
    names.insert(names.index(members[-1]) + 1, "mean_single")
    rows = []
    for name in names:
        cells = [cell for lm in others for cell in _lm_cells(report["lms"][lm][name])]
        rows.append(("**mean single**" if name == "mean_single" else name, *cells))
    header = [f"{lm}: {what}" for lm in others for what in ("test WER %", *INTERVALS, "errors", "dev WER %")]
    return ["## Other language models", table(("system", *header), rows)]


def _lm_cells(parts: Mapping[str, Any]) -> tuple[str, ...]:
    return (*_rate(parts["test"]), errors_in_words(parts["test"]["errors"]), percent(parts["dev"]["wer"]))


def _speed(report: Mapping[str, Any]) -> list[str]:
    measured = [system for system in report["systems"] if "rtf" in system]
    if not measured:
        return []
    phases = ("features", "acoustic", "search", "total")
    rows = [
        (
            system["name"],
            *(f"{system['rtf'][phase]:.4f}" for phase in phases),
            percent(system["metrics"]["test"]["wer"]),
        )
        for system in measured
    ]
    return ["## Real-time factor", table(("system", *phases, "WER %"), rows), speed_note(report)]


def speed_note(report: Mapping[str, Any]) -> str:
    """How the real-time factors were measured, and what was not."""
    bench = report["bench"]
    return (
        f"Wall time by audio time (lower is faster) on {bench['processor']} ({bench['machine']}), "
        f"{bench['threads']} thread(s): {bench['utterances']} utterances of test, "
        f"{bench['audio_seconds']:.0f} s, waveform in memory; median of {bench['passes']} passes."
        f"{_not_measured(report)}"
    )


def _not_measured(report: Mapping[str, Any]) -> str:
    """Whose architecture the members have that were not measured."""
    members: dict[str, list[str]] = {}
    for system in report["systems"]:
        if "rtf_of" in system:
            members.setdefault(system["rtf_of"], []).append(system["name"])
    return "".join(
        f" Not measured: {', '.join(names)}, of the same architecture as {first}."
        for first, names in members.items()
    )


def _provenance(provenance: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    return (
        f"## How it was made\n\n- command: `{provenance['command']}`\n- written: {provenance['written']}\n"
        f"- stages: {stages_in_words(provenance)}\n"
        f"- versions: {versions}; code of asr_kd {provenance['code']}\n"
        "- settings and the digests of all artefacts: `report.json`"
    )


def stages_in_words(provenance: Mapping[str, Any]) -> str:
    """How long the stages took, and which left no time."""
    seconds = provenance["stage_seconds"]
    known = [f"{name} {taken:.0f} s" for name, taken in seconds.items()]
    together = [f"together {provenance['seconds'] / 60:.1f} minutes"] if known else []
    missing = [stage for stage in STAGES if stage not in seconds]
    without = [f"no time with today's settings: {', '.join(missing)}"] if missing else []
    return "; ".join([*([", ".join(known)] if known else []), *together, *without])
