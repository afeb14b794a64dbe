"""From audio to frame stores, on all cores: workers fill memory-mapped arrays, a speaker at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np

from asr_kd.config import FeatureConfig
from asr_kd.corpus.audio import audio_info, read_audio
from asr_kd.corpus.manifest import Utterance
from asr_kd.costs import features_memory
from asr_kd.errors import AsrKdError
from asr_kd.features.batched import BatchedFeatures
from asr_kd.features.fbank import Fbank, check_mel_bins, count_frames
from asr_kd.features.mfcc import MFCC_MEL_BINS, Mfcc
from asr_kd.features.normalise import Statistics, normalise, subtract_mean
from asr_kd.features.perturb import Perturbation
from asr_kd.features.store import FBANK_FILE, MFCC_FILE, Part, create_part, open_part
from asr_kd.frames import FrameIndex, open_frames
from asr_kd.jobs import Cost, map_processes
from asr_kd.seeding import generator

BACKENDS = ("auto", "numpy", "kaldi", "torchaudio")
NORMALISATIONS = ("speaker", "utterance")
# A worker holds this much audio at once, about 100 MB with its features. Speakers with more are done in
# pieces, their statistics first: they are read twice.
PIECE_SECONDS = 600.0
# What a duration in a manifest may be off by (rounding, resampling): the audio is cut or extended by so much.
TOLERANCE_SECONDS = 0.025


@dataclass(frozen=True)
class Extraction:
    """How audio becomes features.

    Attributes:
        features: the settings of stage `features`.
        sample_rate: hertz.
        resample: convert audio of other sample rates.
        device: where back end `torchaudio` computes; "auto": on a GPU where there is one.
        seed: of the dither, where there is any.
        perturbation: of a perturbed copy.
    """

    features: FeatureConfig
    sample_rate: int
    resample: bool = False
    device: str = "cpu"
    seed: int = 0
    perturbation: Perturbation | None = None

    def check(self) -> None:
        """Refuse settings that mean nothing.

        Raises:
            AsrKdError: names the setting and its choices.
        """
        for name, choices in (("backend", BACKENDS), ("normalise", NORMALISATIONS)):
            value = getattr(self.features, name)
            if value not in choices:
                raise AsrKdError(f"features.{name}={value}: choose one of {', '.join(choices)}")
        if not 1 <= self.features.cepstra <= MFCC_MEL_BINS:
            raise AsrKdError(f"features.cepstra={self.features.cepstra}: give 1 to {MFCC_MEL_BINS}")
        for mel_bins in (self.features.mel_bins, MFCC_MEL_BINS):
            check_mel_bins(self.features, self.sample_rate, mel_bins)


class Backend(Protocol):
    """Computes features of a few utterances, end to end: ``(frames, mel_bins)`` and ``(frames, cepstra)``."""

    def compute(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms are ``(samples,)`` float32 in [-1, 1]; both results are float32."""


class KaldiBackend:
    """Back end `kaldi`: kaldi-native-fbank, utterance by utterance."""

    def __init__(self, settings: FeatureConfig, sample_rate: int) -> None:
        self._fbank, self._mfcc = Fbank(settings, sample_rate), Mfcc(settings, sample_rate)

    def compute(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """See `Backend`."""
        return (
            np.concatenate([self._fbank.compute(waveform) for waveform in waveforms]),
            np.concatenate([self._mfcc.compute(waveform) for waveform in waveforms]),
        )


def make_backend(extraction: Extraction) -> Backend:
    """The back end that the settings name; `auto` is `numpy`: reading takes as long as computing."""
    settings, sample_rate = extraction.features, extraction.sample_rate
    if settings.backend == "kaldi":
        return KaldiBackend(settings, sample_rate)
    if settings.backend == "torchaudio":
        # Imported here: torch takes seconds to load, in every worker, and the others do without.
        from asr_kd.features.on_device import DeviceFeatures

        return DeviceFeatures(settings, sample_rate, extraction.device)
    return BatchedFeatures(settings, sample_rate)


@dataclass(frozen=True)
class Piece:
    """Consecutive utterances of one speaker, done by one worker at once.

    Attributes:
        folder: of the part they belong to.
        utterances: with known durations.
        first_frame: where they begin in the part.
        lengths: frames of each.
        statistics: of all the speaker's filterbanks and MFCCs, where the speaker has several pieces.
    """

    folder: Path
    utterances: tuple[Utterance, ...]
    first_frame: int
    lengths: tuple[int, ...]
    statistics: tuple[Statistics, Statistics] | None = None


@dataclass
class _Plan:
    """The pieces of all parts; those of speakers who have several also by speaker."""

    whole: list[Piece] = field(default_factory=list)
    split: list[list[Piece]] = field(default_factory=list)


def extract(parts: Mapping[Path, Sequence[Utterance]], extraction: Extraction, workers: int) -> list[Part]:
    """Compute and store the features of some parts of a corpus.

    The result does not depend on the number of workers. Memory is bounded by `PIECE_SECONDS` of audio (or
    the longest utterance) a worker.

    Args:
        parts: the folder to write each part to, and its utterances in the order of the frame axis, all
            utterances of a speaker together.
        extraction: how.
        workers: processes.

    Raises:
        AsrKdError: names the part, or the utterance, whose audio cannot be used.
    """
    extraction.check()
    plan = _Plan()
    for folder, utterances in parts.items():
        known = [_with_duration(utterance) for utterance in utterances]
        index = _index(known, extraction)
        create_part(folder, index, extraction.features.mel_bins, extraction.features.cepstra)
        _add_pieces(plan, folder, known, index)
    pieces = plan.whole + _with_statistics(plan.split, extraction, workers)
    cost = _cost(pieces)
    for _ in map_processes(_store_piece, pieces, workers, "features", _start_worker, (extraction,), cost):
        pass
    return [open_part(folder) for folder in parts]


def load_waveform(utterance: Utterance, extraction: Extraction) -> np.ndarray:
    """The samples of an utterance ``(samples,)`` float32, as many as its duration says, then perturbed.

    Raises:
        AsrKdError: the audio cannot be read, is not finite, or has another length than the manifest says.
    """
    waveform = read_audio(utterance, extraction.sample_rate, extraction.resample)
    wanted = _samples(utterance, extraction)
    if abs(len(waveform) - wanted) > TOLERANCE_SECONDS * extraction.sample_rate:
        raise AsrKdError(
            f"utterance {utterance.id}: {utterance.audio} gives {len(waveform)} samples, its manifest says "
            f"{wanted}; the audio has changed: run stage `data` again"
        )
    exact = np.pad(waveform[:wanted], (0, max(wanted - len(waveform), 0)))
    if extraction.features.dither > 0:
        # Kaldi draws dither anew for each frame; drawn once a sample, and by name, the same bytes come again.
        noise = generator(extraction.seed, "dither", utterance.id).standard_normal(wanted, dtype=np.float32)
        exact = exact + np.float32(extraction.features.dither / 32768.0) * noise
    return extraction.perturbation.apply(exact, utterance.id) if extraction.perturbation else exact


def _samples(utterance: Utterance, extraction: Extraction) -> int:
    assert utterance.duration_seconds is not None
    return round(utterance.duration_seconds * extraction.sample_rate)


def _with_duration(utterance: Utterance) -> Utterance:
    if utterance.duration_seconds is not None:
        return utterance
    seconds = audio_info(utterance.audio).seconds - utterance.start_seconds
    return replace(utterance, duration_seconds=max(seconds, 0.0))


def _index(utterances: Sequence[Utterance], extraction: Extraction) -> FrameIndex:
    samples = [_samples(utterance, extraction) for utterance in utterances]
    if extraction.perturbation:
        samples = [extraction.perturbation.samples(count) for count in samples]
    lengths = [count_frames(count, extraction.features, extraction.sample_rate) for count in samples]
    if 0 in lengths:
        short = utterances[lengths.index(0)]
        raise AsrKdError(
            f"utterance {short.id}: {short.audio} is shorter than half a frame; take it out of the corpus, "
            "or set data.invalid=skip"
        )
    speakers = [utterance.speaker for utterance in utterances]
    return FrameIndex.from_lengths([utterance.id for utterance in utterances], speakers, lengths)


def _add_pieces(plan: _Plan, folder: Path, utterances: Sequence[Utterance], index: FrameIndex) -> None:
    place = 0
    for _, group in groupby(utterances, key=lambda utterance: utterance.speaker):
        pieces: list[Piece] = []
        for bunch in _bunches(list(group)):
            lengths = index.lengths[place : place + len(bunch)].tolist()
            pieces.append(Piece(folder, tuple(bunch), int(index.offsets[place]), tuple(lengths)))
            place += len(bunch)
        if len(pieces) == 1:
            plan.whole += pieces
        else:
            plan.split.append(pieces)


def _bunches(utterances: list[Utterance]) -> list[list[Utterance]]:
    """Cut a speaker's utterances into runs of at most `PIECE_SECONDS`, or of one longer utterance."""
    bunches: list[list[Utterance]] = [[]]
    seconds = 0.0
    for utterance in utterances:
        duration = utterance.duration_seconds or 0.0
        if bunches[-1] and seconds + duration > PIECE_SECONDS:
            bunches.append([])
            seconds = 0.0
        bunches[-1].append(utterance)
        seconds += duration
    return bunches


def _with_statistics(split: list[list[Piece]], extraction: Extraction, workers: int) -> list[Piece]:
    pieces = [piece for speaker in split for piece in speaker]
    initargs, cost = (extraction,), _cost(pieces)
    known = dict(map_processes(_measure_piece, pieces, workers, "statistics", _start_worker, initargs, cost))
    done: list[Piece] = []
    for speaker in split:
        # In the order of the pieces, not of their completion: sums of floats depend on it.
        measured = [known[len(done) + place] for place in range(len(speaker))]
        fbank, mfcc = (Statistics.merged(of_kind) for of_kind in zip(*measured, strict=True))
        done += [replace(piece, statistics=(fbank, mfcc)) for piece in speaker]
    return done


def _cost(pieces: Sequence[Piece]) -> Cost:
    """Of a worker: as much audio as there is in the longest piece."""
    seconds = (sum(one.duration_seconds or 0.0 for one in piece.utterances) for piece in pieces)
    return Cost(features_memory(max(seconds, default=0.0)))


class _Worker:
    """What a worker process keeps between pieces."""

    extraction: Extraction
    backend: Backend


def _start_worker(extraction: Extraction) -> None:
    _Worker.extraction, _Worker.backend = extraction, make_backend(extraction)


def _compute(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    waveforms = [load_waveform(utterance, _Worker.extraction) for utterance in piece.utterances]
    return _Worker.backend.compute(waveforms)


def _measure_piece(piece: Piece) -> tuple[Statistics, Statistics]:
    fbank, mfcc = _compute(piece)
    return Statistics.of(fbank), Statistics.of(mfcc)


def _store_piece(piece: Piece) -> None:
    fbank, mfcc = _compute(piece)
    by_fbank, by_mfcc = piece.statistics or (Statistics.of(fbank), Statistics.of(mfcc))
    # Without the index of the part, which is as large as the corpus.
    stored = {name: open_frames(piece.folder / name, writable=True) for name in (FBANK_FILE, MFCC_FILE)}
    span = slice(piece.first_frame, piece.first_frame + len(fbank))
    stored[MFCC_FILE][span] = subtract_mean(mfcc, by_mfcc)
    if _Worker.extraction.features.normalise == "speaker":
        stored[FBANK_FILE][span] = normalise(fbank, by_fbank)
        return
    begin = 0
    for length in piece.lengths:
        frames = fbank[begin : begin + length]
        first = piece.first_frame + begin
        stored[FBANK_FILE][first : first + length] = normalise(frames, Statistics.of(frames))
        begin += length
