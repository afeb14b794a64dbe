"""A spectrogram of an utterance with the times of its words."""

from collections.abc import Sequence

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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 1.4 * seconds), 1.9), dpi=PIXELS_PER_INCH)
        axes = figure.add_axes((0.075, 0.22, 0.895, 0.6))
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
        for time in words:
            # Apart from its neighbours by a frame on both sides.
            start, end = (time.start + 1) * frame_seconds, (time.end - 1) * frame_seconds
            if start < seconds:
                (line,) = axes.plot([start, end], [MEL_BINS + 2] * 2, color=LIGHT["muted"], linewidth=1.5)
                line.set_clip_on(False)
                axes.text((start + end) / 2, MEL_BINS + 5, time.word, ha="center", fontsize=8)
        axes.set_xlim(0, seconds)
        axes.set_xlabel("seconds", labelpad=1)
    return figure


def _mel_places(sample_rate: int) -> list[float]:
    """Where 1 and 4 kHz lie on the axis of mel bins."""
    centres = librosa.mel_frequencies(n_mels=MEL_BINS + 2, fmax=sample_rate / 2)[1:-1]
    return [float(np.interp(hertz, centres, np.arange(MEL_BINS) + 0.5)) for hertz in (1000, 4000)]
