"""A spectrogram of an utterance with the times of its words."""

from collections.abc import Sequence
from dataclasses import dataclass

import librosa
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from asr_kd.hmm.word_times import WordTime
from asr_kd.report.theme import LIGHT, STYLE

MEL_BINS = 64
SHIFT_SECONDS = 0.02
WINDOW_SECONDS = 0.032
PIXELS_PER_INCH = 72
SECONDS_SHOWN = 16.0  # of a longer utterance the beginning
_DYNAMIC_RANGE = 70.0  # decibels
_MARGINS = 0.6  # inches beside the picture
_INCHES_A_SECOND = 1.4, 4.0  # as wide as the words need, between these
_INCHES_A_CHARACTER = 0.09  # of a word's lettering, at most
_ROWS = 2  # of words above the picture
_ROW_HEIGHT = 11  # in mel bins


@dataclass(frozen=True)
class _Label:
    """A word with its time in seconds, and the row that it is written in, from below."""

    word: str
    start: float
    end: float
    row: int


def spectrogram(
    waveform: np.ndarray, sample_rate: int, words: Sequence[WordTime], frame_seconds: float
) -> Figure:
    """Mel energies in decibels over seconds.

    Args:
        waveform: ``(samples,)`` float32.
        sample_rate: hertz.
        words: with their frames; may be empty.
        frame_seconds: from one of these frames to the next.
    """
    shown = waveform[: int(SECONDS_SHOWN * sample_rate)]
    energies = librosa.feature.melspectrogram(
        y=shown,
        sr=sample_rate,
        n_fft=int(WINDOW_SECONDS * sample_rate),
        hop_length=int(SHIFT_SECONDS * sample_rate),
        n_mels=MEL_BINS,
    )
    decibels = librosa.power_to_db(energies, ref=np.max, top_db=_DYNAMIC_RANGE)
    seconds = len(shown) / sample_rate
    inches, labels = _lay_out([word for word in words if word.start * frame_seconds < seconds], frame_seconds)
    with mpl.rc_context(STYLE):
        width = max(5.0, inches * seconds + _MARGINS)
        figure = Figure(figsize=(width, 2.1), dpi=PIXELS_PER_INCH)
        axes = figure.add_axes((0.4 / width, 0.2, 1 - _MARGINS / width, 0.54))
        axes.imshow(
            decibels,
            origin="lower",
            aspect="auto",
            cmap="magma",
            interpolation="none",  # stored as it is; the browser stretches it
            extent=(0, seconds, 0, MEL_BINS),
        )
        axes.set_yticks(_mel_places(sample_rate), ["1", "4"])
        axes.set_ylabel("kHz")
        for label in labels:
            (line,) = axes.plot([label.start, label.end], [MEL_BINS + 2] * 2, color=LIGHT["muted"], lw=1.5)
            line.set_clip_on(False)
            height = MEL_BINS + 5 + _ROW_HEIGHT * label.row
            axes.text((label.start + label.end) / 2, height, label.word, ha="center", fontsize=8)
        axes.set_xlim(0, seconds)
        whole = len(waveform) / sample_rate
        cut = f", the first of {whole:.1f}" if whole > seconds else ""
        axes.set_xlabel(f"seconds{cut}", labelpad=1, loc="left")  # in sight where the picture is wide
    return figure


def _lay_out(words: Sequence[WordTime], frame_seconds: float) -> tuple[float, list[_Label]]:
    """Inches a second, and a row for every word, so that no word runs into its neighbour."""
    narrow, wide = _INCHES_A_SECOND
    labels: list[_Label] = []
    for inches in np.linspace(narrow, wide, 14):
        ends, fits = [-np.inf] * _ROWS, True
        labels = []
        for word in words:
            # Apart from its neighbours by a frame on both sides.
            start, end = (word.start + 1) * frame_seconds, (word.end - 1) * frame_seconds
            half = _INCHES_A_CHARACTER * (len(word.word) + 1) / 2 / inches
            left = (start + end) / 2 - half
            row = next((row for row in range(_ROWS) if ends[row] <= left), int(np.argmin(ends)))
            fits &= bool(ends[row] <= left)
            ends[row] = left + 2 * half
            labels.append(_Label(word.word, start, end, row))
        if fits:
            break
    return float(inches), labels


def _mel_places(sample_rate: int) -> list[float]:
    """Where 1 and 4 kHz lie on the axis of mel bins."""
    centres = librosa.mel_frequencies(n_mels=MEL_BINS + 2, fmax=sample_rate / 2)[1:-1]
    return [float(np.interp(hertz, centres, np.arange(MEL_BINS) + 0.5)) for hertz in (1000, 4000)]
