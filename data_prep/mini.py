"""A synthetic corpus, for a smoke test that runs anywhere: connected digits and a small command grammar.

Spoken by espeak-ng in many voices, with noise. It shows that everything works, and measures nothing.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile

from asr_kd import artifacts
from asr_kd.config import DataConfig, MiniConfig, PartsConfig
from asr_kd.corpus import pronounce
from asr_kd.corpus.corpus import Corpus
from asr_kd.corpus.espeak import Espeak, Speech
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError
from asr_kd.jobs import map_processes
from asr_kd.progress import say
from asr_kd.seeding import generator

FORMAT = 2  # raised when the same settings make other audio

DIGITS = ["ZERO", "OH", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
LONGEST_NUMBER = 7  # digits
NUMBER_FRACTION = 0.5  # of the utterances; the rest are commands
COMMANDS = [
    "TURN THE {room} {device} {switch}",
    "SET {quantity} TO {digit}",
    "CALL {name}",
    "PLAY {sound}",
    "PAUSE THE {sound}",
    "{move} THE {room} {opening}",
    "WHAT IS THE {topic}",
    "STOP",
]
SLOTS = {
    "room": ["KITCHEN", "BEDROOM", "GARDEN"],
    "device": ["LIGHT", "LAMP", "HEATER", "FAN"],
    "switch": ["ON", "OFF"],
    "quantity": ["VOLUME", "BRIGHTNESS"],
    "digit": DIGITS,
    "name": ["ANNA", "PETER", "MARIA", "DANIEL"],
    "sound": ["MUSIC", "RADIO", "NEWS"],
    "move": ["OPEN", "CLOSE"],
    "opening": ["DOOR", "WINDOW", "GATE"],
    "topic": ["TIME", "WEATHER"],
}

# Accents and speakers of espeak-ng that sound like people, not like robots. Those of its Klatt synthesiser
# are left out: it reads memory that it has not written, and says other samples each time.
VOICES = [
    "en-us", "en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us-nyc",
]  # fmt: skip
VARIANTS = [
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Alex", "Andy", "Annie",
    "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Lee", "Mario", "Michael", "Mike", "Nguyen", "aunty",
    "belinda", "boris", "ed", "gustave", "linda", "max", "steph", "travis",
]  # fmt: skip

NOISE_SPREAD_DECIBELS = 8.0  # to both sides of the mean signal-to-noise ratio
STEEPEST_NOISE = 1.5  # its power falls with frequency to at most this power
PADDING_SECONDS = (0.1, 0.4)  # of noise alone, at both ends


@dataclass(frozen=True)
class Speaker:
    """One speaker: a voice, and how it speaks on average."""

    name: str
    voice: str
    variant: str
    rate: float  # words a minute
    pitch: float


def prepare(config: DataConfig, folder: Path, seed: int = 0, workers: int = 1) -> Corpus:
    """Synthesise the corpus into ``<folder>/audio``, unless it is there already.

    The same settings and seed give the same bytes.

    Raises:
        AsrKdError: more speakers than voices, none left to train on, or settings of other corpora.
    """
    if config.source or config.parts != PartsConfig():
        idle = "data.source" if config.source else "data.parts"
        raise AsrKdError(
            f"{idle} has no effect: recipe mini synthesises its corpus, whose parts follow from "
            "data.mini.dev_speakers and data.mini.test_speakers"
        )
    settings = config.mini
    speakers = _speakers(settings, seed)
    sentences = {
        speaker.name: [
            _sentence(generator(seed, "mini", "sentence", speaker.name, number))
            for number in range(settings.utterances_per_speaker)
        ]
        for speaker in speakers
    }
    audio = _synthesise_all(config, folder.absolute() / "audio", speakers, sentences, seed, workers)
    utterances = {
        speaker.name: [
            Utterance(
                f"{speaker.name}-{number:03d}", speaker.name, str(_audio_file(audio, speaker, number)), text
            )
            for number, text in enumerate(sentences[speaker.name])
        ]
        for speaker in speakers
    }
    held_out = settings.dev_speakers + settings.test_speakers
    bounds = [0, len(speakers) - held_out, len(speakers) - settings.test_speakers, len(speakers)]
    parts = {
        part: [item for speaker in speakers[first:last] for item in utterances[speaker.name]]
        for part, (first, last) in zip(("train", "dev", "test"), itertools.pairwise(bounds), strict=True)
    }
    return Corpus(parts=parts, lexicon=pronounce.from_dictionary(vocabulary()))


def vocabulary() -> list[str]:
    """All words that can be said."""
    fixed = [word for command in COMMANDS for word in command.split() if not word.startswith("{")]
    return sorted({*DIGITS, *fixed, *itertools.chain.from_iterable(SLOTS.values())})


def _speakers(settings: MiniConfig, seed: int) -> list[Speaker]:
    """Every speaker has a variant of their own while there are enough; accents take turns."""
    known = len(VOICES) * len(VARIANTS)
    if not settings.dev_speakers + settings.test_speakers < settings.speakers <= known:
        raise AsrKdError(
            f"data.mini.speakers={settings.speakers}: give at most {known}, and more than the "
            f"{settings.dev_speakers} of data.mini.dev_speakers and {settings.test_speakers} of test_speakers"
        )
    variants = generator(seed, "mini", "variants").permutation(VARIANTS).tolist()
    speakers = []
    for number in range(settings.speakers):
        random = generator(seed, "mini", "speaker", number)
        turn, place = divmod(number, len(VARIANTS))
        voice = VOICES[(place + turn) % len(VOICES)]
        rate, pitch = random.uniform(130, 190), random.uniform(35, 65)
        speakers.append(Speaker(f"voice{number:03d}", voice, variants[place], rate, pitch))
    return speakers


def _sentence(random: np.random.Generator) -> str:
    if random.random() < NUMBER_FRACTION:
        return " ".join(random.choice(DIGITS, size=random.integers(1, LONGEST_NUMBER, endpoint=True)))
    slots = {slot: random.choice(words) for slot, words in SLOTS.items()}
    return str(random.choice(COMMANDS)).format(**slots)


def _audio_file(folder: Path, speaker: Speaker, number: int) -> Path:
    return folder / speaker.name / f"{speaker.name}-{number:03d}.flac"


@dataclass(frozen=True)
class _Task:
    """What a worker process says: all sentences of one speaker."""

    folder: Path
    speaker: Speaker
    sentences: Sequence[str]
    noise_decibels: float
    sample_rate: int
    seed: int


def _synthesise_all(
    config: DataConfig,
    folder: Path,
    speakers: list[Speaker],
    sentences: dict[str, list[str]],
    seed: int,
    workers: int,
) -> Path:
    settings = {
        "format": FORMAT,
        "speakers": [asdict(speaker) for speaker in speakers],
        "sentences": sentences,
        "noise_decibels": config.mini.noise_decibels,
        "sample_rate": config.sample_rate,
        "seed": seed,
        "versions": pronounce.versions(),
    }
    made_from = artifacts.fingerprint("mini", settings, {})
    if artifacts.find(folder, made_from):
        return folder
    with artifacts.create(folder, made_from) as partial:
        tasks = [
            _Task(
                partial,
                speaker,
                sentences[speaker.name],
                config.mini.noise_decibels,
                config.sample_rate,
                seed,
            )
            for speaker in speakers
        ]
        seconds = sum(spoken for _, spoken in map_processes(_speak, tasks, workers, "synthesis"))
    say(f"mini: {seconds / 60:.0f} minutes of synthetic speech, {len(speakers)} voices, in {folder}")
    return folder


def _speak(task: _Task) -> float:
    """Write all audio of one speaker; the seconds of it."""
    seconds = 0.0
    # What espeak-ng says depends on what it has said before: a speaker is said whole, or again.
    with Espeak() as engine:
        for number, text in enumerate(task.sentences):
            random = generator(task.seed, "mini", "audio", task.speaker.name, number)
            path = _audio_file(task.folder, task.speaker, number)
            path.parent.mkdir(exist_ok=True)
            samples = _with_noise(_say(engine, task.speaker, text, random), task, random)
            with artifacts.replace_file(path) as temporary:
                soundfile.write(temporary, samples, task.sample_rate, format="FLAC", subtype="PCM_16")
            seconds += len(samples) / task.sample_rate
    return seconds


def _say(engine: Espeak, speaker: Speaker, text: str, random: np.random.Generator) -> Speech:
    return engine.synthesise(
        text.lower(),
        speaker.voice,
        speaker.variant,
        rate=round(speaker.rate * random.uniform(0.85, 1.2)),
        pitch=round(speaker.pitch + random.uniform(-10, 10)),
        pitch_range=round(random.uniform(25, 75)),
    )


def _with_noise(speech: Speech, task: _Task, random: np.random.Generator) -> np.ndarray:
    """``(samples,)`` float64 at the corpus' sample rate, padded, in noise, at a random level."""
    # Imported here: only a corpus that is synthesised needs it.
    import soxr

    voice = soxr.resample(speech.samples, speech.sample_rate, task.sample_rate, quality="HQ")
    before, after = (int(random.uniform(*PADDING_SECONDS) * task.sample_rate) for _ in range(2))
    decibels = task.noise_decibels + random.uniform(-NOISE_SPREAD_DECIBELS, NOISE_SPREAD_DECIBELS)
    loudness = np.sqrt(np.mean(np.square(voice, dtype=np.float64)))
    noise = _coloured_noise(before + len(voice) + after, random) * loudness * 10 ** (-decibels / 20)
    noise[before : before + len(voice)] += voice
    scaled: np.ndarray = noise * (random.uniform(0.1, 0.8) / np.abs(noise).max())
    return scaled


def _coloured_noise(samples: int, random: np.random.Generator) -> np.ndarray:
    """``(samples,)`` of mean square 1: between white and steeper than pink."""
    # A power of two, cut to length: transforms of prime lengths are slow.
    points = 1 << samples.bit_length()
    spectrum = np.fft.rfft(random.standard_normal(points))
    slope = random.uniform(0, STEEPEST_NOISE)
    # Flat below a hundredth of the Nyquist frequency, so that rumble does not take all the power.
    frequencies = np.maximum(np.linspace(0, 1, len(spectrum)), 0.01)
    noise = np.fft.irfft(spectrum * frequencies ** (-slope / 2), points)[:samples]
    normalised: np.ndarray = noise / np.sqrt(np.mean(np.square(noise)))
    return normalised
