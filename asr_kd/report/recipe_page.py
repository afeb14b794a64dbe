"""``report.html``: the report of a recipe for people."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from asr_kd.config import Config
from asr_kd.corpus.audio import read_audio
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.hmm import GmmHmm
from asr_kd.hmm.word_times import WordTime, word_times
from asr_kd.progress import say
from asr_kd.report.breakdown import ERROR_KINDS
from asr_kd.report.figures import CONFUSED_PHONES, CURVES, DIFFERENCES
from asr_kd.report.markdown import FAMILIES
from asr_kd.report.page import changed_utterances
from asr_kd.report.page import render as render_page
from asr_kd.report.results import Decoded, Results
from asr_kd.report.spectrogram import SECONDS_SHOWN, spectrogram
from asr_kd.report.theme import inline_svg

PART = "test"
SPECTROGRAMS = 16  # of the utterances that changed most
SPEAKERS = 60


def render(
    config: Config,
    work: Path,
    report: Mapping[str, Any],
    results: Results,
    drawn: Mapping[str, tuple[str, Figure]],
    model: GmmHmm | None,
) -> str:
    """One self-contained HTML file.

    Args:
        config: of the recipe.
        work: with audio, features and the alignment model.
        report: the content of ``report.json``.
        results: what it was made from.
        drawn: names and figures by caption.
        model: for the times of words, from `alignment_model`.
    """
    systems = {system["name"]: system["kind"] for system in report["systems"]}
    shown = side_by_side(results)
    compared = {entry.system.name: entry.alignments[PART] for entry in shown}
    speakers = {utterance.id: utterance.speaker for utterance in results.utterances[PART]}
    students = [name for name, kind in systems.items() if kind == "student"]
    return render_page(
        "report.html",
        systems,
        report=report,
        names=list(systems),
        first_student=next(iter(students), ""),
        ensemble="ensemble" in systems.values(),
        by=results.test_sets[PART].by,
        families=FAMILIES,
        timed=any("rtf" in system for system in report["systems"]),
        compared=list(compared),
        typical=shown[0].system.name,
        figures={
            caption: Markup(inline_svg(figure, name, caption)) for caption, (name, figure) in drawn.items()
        },
        first_figures=[caption for caption in drawn if caption.startswith(DIFFERENCES)],
        curves=[caption for caption in drawn if caption.startswith(CURVES)],
        phone_figures=[caption for caption in drawn if caption.startswith(CONFUSED_PHONES)],
        speakers=speaker_rows(report),
        speakers_shown=SPEAKERS,
        utterances=changed_utterances(compared, speakers, _Pictures(config, work, results, model)),
        spectrograms=SPECTROGRAMS,
        seconds_shown=f"{SECONDS_SHOWN:g}",
        senone=_senone_names(model),
    )


def side_by_side(results: Results) -> list[Decoded]:
    """What utterances are compared by: the member with the median errors, the ensemble and the students."""
    members = sorted(results.of_kind("member"), key=lambda entry: entry.errors(PART).sum())
    typical = members[(len(members) - 1) // 2]
    return [typical, *results.of_kind("ensemble"), *results.of_kind("student")]


def speaker_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every system and speaker: words, errors, WER, and its difference from the ensemble's."""
    kinds = {system["name"]: system["kind"] for system in report["systems"]}
    ensemble = next((name for name, kind in kinds.items() if kind == "ensemble"), None)
    spoken = [row for row in report["speakers"] if row["words"]]
    ordered = sorted(spoken, key=lambda row: -sum(row["errors"].values()))
    worst = {row["speaker"] for row in ordered[:SPEAKERS]}
    most = max((count / row["words"] for row in spoken for count in row["errors"].values()), default=0) or 1
    return [
        {
            "speaker": row["speaker"],
            "system": name,
            "words": row["words"],
            "wer": row["errors"][name] / row["words"],
            "share": row["errors"][name] / row["words"] / most,
            "difference": (row["errors"][name] - row["errors"][ensemble]) / row["words"]
            if ensemble
            else None,
            **{kind: row[kind][name] for kind in ("errors", *ERROR_KINDS)},
        }
        for name in kinds
        for row in spoken
        if row["speaker"] in worst
    ]


class _Pictures:
    """Spectrograms of the first utterances that are asked for."""

    def __init__(self, config: Config, work: Path, results: Results, model: GmmHmm | None) -> None:
        self._config, self._model = config, model
        self._utterances = {utterance.id: utterance for utterance in results.utterances[PART]}
        self._features = open_part(work / "features" / PART)
        self._lexicon = work / "data" / "lexicon_align.txt"
        self._drawn = 0

    def __call__(self, name: str) -> Markup | None:
        if self._drawn == SPECTROGRAMS:
            return None
        self._drawn += 1
        utterance = self._utterances[name]
        try:
            waveform = read_audio(utterance, self._config.data.sample_rate, self._config.data.resample)
        except AsrKdError as error:
            # Audio may have been moved away since: the figures stand without it.
            say(f"report: no spectrogram of {name} ({error})")
            return None
        figure = spectrogram(
            waveform,
            self._config.data.sample_rate,
            self._times(utterance),
            self._config.features.frame_shift_milliseconds / 1000,
        )
        return Markup(inline_svg(figure, f"utterance-{self._drawn}", f"Spectrogram of {name}"))

    def _times(self, utterance: Utterance) -> list[WordTime]:
        if self._model is None:
            return []
        span = self._features.index.span(utterance.id)
        mfcc = self._features.mfcc[span]
        lexicon = _lexicon(self._lexicon)
        return word_times(self._model, lexicon, utterance.words, mfcc, utterance.id) or []


@lru_cache(maxsize=1)
def _lexicon(path: Path) -> Lexicon:
    return Lexicon.read(path)


def alignment_model(config: Config, work: Path) -> GmmHmm | None:
    """The recipe's own; none where labels and graph came from elsewhere."""
    folder = work / "align" / "model"
    return GmmHmm.load(folder) if folder.is_dir() and not config.align.hclg else None


def _senone_names(model: GmmHmm | None) -> Callable[[int], str]:
    phones = model.senone_phones() if model else []
    return lambda senone: f"{senone} ({phones[senone]})" if phones else str(senone)
