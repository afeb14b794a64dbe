"""Audio files: what they hold, and the samples of one utterance."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError

# Headerless files are what AN4 distributes: 16-bit big-endian samples of one channel at 16 kHz.
RAW_SAMPLE_RATE = 16000
RAW_FORMAT: dict[str, Any] = {
    "format": "RAW",
    "subtype": "PCM_16",
    "endian": "BIG",
    "samplerate": RAW_SAMPLE_RATE,
    "channels": 1,
}
RAW_SUFFIX = ".raw"
AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3", ".sph", RAW_SUFFIX)
# What recordings have; a damaged header may claim any number, and memory is taken by it.
SAMPLE_RATES, MAX_CHANNELS = range(1_000, 400_001), 64
READ_VALUES = 1 << 22  # so many values of all channels are read at once
UNKNOWN_LENGTH = 1 << 62  # samples: so libsndfile says that a header has no number
# Whole numbers of 32 bits as floating point; beyond, the power of a spectrum is no float32.
MAX_SAMPLE = 2.0**31

# Segment times are often rounded to hundredths of a second: so far may an end lie behind the last sample.
MAX_OVERSHOOT_SECONDS = 0.02
# Far longer than anything that can be aligned; a damaged header may claim any length.
MAX_SECONDS = 3600.0


class AudioInfo(NamedTuple):
    """What a file's header says: sample rate in hertz, samples of one channel, channels."""

    sample_rate: int
    frames: int
    channels: int

    @property
    def seconds(self) -> float:
        """The length of the file."""
        return self.frames / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Look at a file's header, without decoding it.

    Raises:
        AsrKdError: the file is missing, or no audio file that libsndfile reads.
    """
    with _open(path) as file:
        return AudioInfo(file.samplerate, file.frames, file.channels)


def read_audio(utterance: Utterance, sample_rate: int, resample: bool = False) -> np.ndarray:
    """The samples of one utterance.

    Reads WAV, FLAC, Ogg (Opus, Vorbis), MP3, NIST SPHERE and headerless big-endian ``.raw`` files.

    Args:
        utterance: whose audio; its start and duration select a piece of the file.
        sample_rate: hertz of the result.
        resample: convert audio of other sample rates instead of refusing it.

    Returns:
        ``(samples,)`` float32 in [-1, 1]; the mean of all channels.

    Raises:
        AsrKdError: names the file and the utterance that cannot be read, is empty, ends too early, has
            another sample rate, or holds samples that are not finite.
    """
    try:
        with _open(utterance.audio) as file:
            if file.samplerate != sample_rate and not resample:
                raise AsrKdError(
                    f"{utterance.audio} has {file.samplerate} hertz, not {sample_rate}; "
                    "set data.resample=true to convert it"
                )
            start, samples = _piece(utterance, AudioInfo(file.samplerate, file.frames, file.channels))
            file.seek(start)
            pieces = list(read_pieces(file, utterance.audio, samples))
            waveform = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            if file.samplerate != sample_rate:
                waveform = _resample(waveform, file.samplerate, sample_rate)
            if not len(waveform):
                raise AsrKdError(f"{utterance.audio} is too short: no sample of it is left")
    except soundfile.SoundFileError as error:
        raise AsrKdError(f"utterance {utterance.id}: {utterance.audio} is damaged: {error}") from error
    except AsrKdError as error:
        raise AsrKdError(f"utterance {utterance.id}: {error}") from None
    return np.ascontiguousarray(waveform, dtype=np.float32)


def check_header(file: soundfile.SoundFile, name: str) -> None:
    """Refuse what no recording has, before memory is taken for it.

    Raises:
        AsrKdError: the header claims an unheard-of sample rate or number of channels, or does not say how
            many samples there are; names the file.
    """
    if file.frames >= UNKNOWN_LENGTH:
        raise AsrKdError(
            f"{name} does not say how long it is, as it was written to a pipe; write it to a file anew, e.g. "
            "with ffmpeg"
        )
    if file.samplerate not in SAMPLE_RATES or file.channels > MAX_CHANNELS:
        raise AsrKdError(
            f"{name} claims {file.samplerate} hertz and {file.channels} channels: its header is damaged "
            f"({SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} hertz and up to {MAX_CHANNELS} channels are read)"
        )


def read_pieces(
    file: soundfile.SoundFile, name: str, samples: int, piece: int = READ_VALUES
) -> Iterator[np.ndarray]:
    """The next `samples` of an open file, in pieces: memory is taken for what is there, not what is claimed.

    Args:
        file: where it was sought to.
        name: for messages.
        samples: of one channel, that there should be.
        piece: samples of one channel to read at once, at most; fewer where there are many channels.

    Yields:
        ``(samples,)`` float32, the mean of all channels.

    Raises:
        AsrKdError: the file ends before, or samples are not finite or far beyond full scale; names the file.
    """
    piece, found = max(1, min(piece, READ_VALUES // file.channels)), 0
    while found < samples:
        channels = file.read(min(piece, samples - found), dtype="float32", always_2d=True)
        if not len(channels):
            raise AsrKdError(f"{name} is truncated: {found} of {samples} samples can be read")
        found += len(channels)
        waveform: np.ndarray = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
        if not np.isfinite(waveform).all():
            raise AsrKdError(f"{name} holds samples that are not finite")
        if np.abs(waveform).max() > MAX_SAMPLE:
            raise AsrKdError(f"{name} holds samples far beyond full scale: it is damaged")
        yield waveform


def check_name(path: str | Path) -> None:
    """Refuse a name that cannot be written into a manifest or a report.

    Raises:
        AsrKdError: it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        printable = str(path).encode(errors="backslashreplace").decode()
        raise AsrKdError(f"{printable}: the name of this file is not UTF-8; rename it") from None


def _open(path: str | Path) -> soundfile.SoundFile:
    path = Path(path)
    if not path.is_file():
        raise AsrKdError(f"{path} is missing")
    if path.stat().st_size == 0:
        raise AsrKdError(f"{path} is empty")
    try:
        file = soundfile.SoundFile(path, **(RAW_FORMAT if path.suffix.lower() == RAW_SUFFIX else {}))
    except soundfile.SoundFileError as error:
        raise AsrKdError(f"{path} is not an audio file that can be read: {error}") from error
    check_header(file, str(path))
    return file


def _piece(utterance: Utterance, info: AudioInfo) -> tuple[int, int]:
    """The first sample and the number of samples of an utterance, at the file's own sample rate."""
    start = round(utterance.start_seconds * info.sample_rate)
    end = info.frames
    if utterance.duration_seconds is not None:
        end = start + round(utterance.duration_seconds * info.sample_rate)
    overshoot = end - info.frames
    if start < 0 or overshoot > MAX_OVERSHOOT_SECONDS * info.sample_rate:
        raise AsrKdError(
            f"{utterance.audio} ends at {info.seconds:.2f} s, "
            f"the utterance at {end / info.sample_rate:.2f} s (it starts at {utterance.start_seconds:.2f} s)"
        )
    end = min(end, info.frames)
    if end - start > MAX_SECONDS * info.sample_rate:
        raise AsrKdError(
            f"{utterance.audio} claims {(end - start) / info.sample_rate:.0f} s, more than an hour; "
            "cut it into segments, or replace it if it is damaged"
        )
    if end <= start:
        raise AsrKdError(f"{utterance.audio} has no samples from {utterance.start_seconds:.2f} s on")
    return start, end - start


def _resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    # Imported here: the runtime, which reads audio too, does without it.
    import soxr

    converted: np.ndarray = soxr.resample(waveform, rate, sample_rate, quality="HQ")
    return converted
