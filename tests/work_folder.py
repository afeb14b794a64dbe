"""A tiny recipe up to stage distill: words A and B, three senones, networks written by hand."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from asr_kd import artifacts
from asr_kd.config import (
    Config,
    DataConfig,
    DecodeConfig,
    DistillConfig,
    FeatureConfig,
    LmConfig,
    StudentConfig,
    TrainConfig,
)
from asr_kd.corpus.manifest import Utterance, write_manifest
from asr_kd.features.store import create_part
from asr_kd.frames import FrameIndex
from asr_kd.models import build
from asr_kd.models.storage import save_model
from tests.decoding.graphs import write_graph

WORDS = ("A", "B")
MEL_BINS = 8
SPEAKERS = ("ann", "bob")
FRAMES_A_WORD = 10


def make_work(work: Path, noise: float = 0.5, members: int = 2, lms: tuple[str, ...] = ("bigram",)) -> Config:
    """Write a recipe's ``data``, ``features``, ``align``, ``train`` and ``distill``.

    Frames of word i have energy in mel bin i, the last frame of every word in bin 2; the senones are the
    same. There is no alignment model: the system `gmm` cannot be decoded.
    """
    config = Config(
        recipe="tiny",
        work=str(work),
        workers=2,
        data=DataConfig(corpus="tiny"),
        features=FeatureConfig(mel_bins=MEL_BINS),
        lms={lm: LmConfig() for lm in lms},
        train=TrainConfig(members=members),
        distill=DistillConfig(students={"student": StudentConfig()}),
        decode=DecodeConfig(acoustic_scales=[0.25, 0.5, 1.0], beams=[10.0, 20.0]),
    )
    random = np.random.default_rng(7)
    parts = {part: _make_part(work, part, noise, random) for part in ("dev", "test", "train")}
    with artifacts.create(work / "data", {"kind": "data"}) as folder:
        (folder / "audio").mkdir()
        for part, utterances in parts.items():
            write_manifest(folder / f"{part}.jsonl", [_with_audio(folder, one, random) for one in utterances])
    with artifacts.create(work / "align" / "labels", {"kind": "labels"}) as folder:
        for part in parts:
            np.save(folder / f"{part}.npy", np.load(work / f".{part}.npy"))
        np.save(folder / "priors.npy", np.full(3, 1 / 3, np.float32))
    for lm in lms:
        with artifacts.create(work / "align" / f"graph-{lm}", {"kind": "graph", "lm": lm}) as folder:
            write_graph(folder, WORDS)
    for number in range(members):
        make_model(work / "train" / f"member-{number}", seed=number)
    make_model(work / "distill" / "student", seed=99)
    return config


def make_model(folder: Path, seed: int, senones: int = 3, hidden_layers: int = 1) -> None:
    """A network whose logits are about the first mel bins, with errors of its own; and its training log."""
    settings = {"kind": "dnn", "hidden_layers": hidden_layers, "hidden_units": MEL_BINS, "left_context": 0}
    model = build({**settings, "right_context": 0, "batch_norm": False}, MEL_BINS, senones)
    random = torch.Generator().manual_seed(seed)
    for name, weight in model.state_dict().items():
        slips = 0.1 * torch.randn(weight.shape, generator=random)
        weight.copy_(4 * torch.eye(*weight.shape) + slips if name.endswith("weight") else slips)
    with artifacts.create(folder, {"kind": "model", "seed": seed}) as partial:
        save_model(partial, model)
        lines = [{"epoch": epoch, "dev_cross_entropy": 1 / (epoch + seed)} for epoch in (1, 2, 3)]
        (partial / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_features(work: Path, part: str, index: FrameIndex, fbank: np.ndarray, mfcc: np.ndarray) -> None:
    """What stage features leaves: `fbank` ``(frames, mel_bins)``, `mfcc` ``(frames, cepstra)``."""
    with artifacts.create(work / "features" / part, {"kind": "features", "part": part}) as folder:
        stored = create_part(folder, index, fbank.shape[1], mfcc.shape[1])
        stored.fbank[:], stored.mfcc[:] = fbank, mfcc


def _make_part(work: Path, part: str, noise: float, random: np.random.Generator) -> list[Utterance]:
    words = {
        f"{speaker}-{part}-{number}": random.choice(WORDS, random.integers(1, 5)).tolist()
        for speaker in SPEAKERS
        for number in range(4)
    }
    labels = {name: np.concatenate([_frames_of(word) for word in spoken]) for name, spoken in words.items()}
    index = FrameIndex.from_lengths(
        list(words), [name.split("-")[0] for name in words], [len(frames) for frames in labels.values()]
    )
    flat = np.concatenate(list(labels.values())).astype(np.int32)
    fbank = np.eye(MEL_BINS)[flat] + noise * random.standard_normal((len(flat), MEL_BINS))
    write_features(work, part, index, fbank, random.standard_normal((len(flat), 13)))
    flat[0] = -1  # a frame without a label
    np.save(work / f".{part}.npy", flat)
    return [
        Utterance(name, name.split("-")[0], "", " ".join(spoken), 0.0, 0.01 * len(labels[name]))
        for name, spoken in words.items()
    ]


def _frames_of(word: str) -> list[int]:
    # The graph of tests.decoding.graphs ends every word with one frame of the last senone.
    return [WORDS.index(word)] * (FRAMES_A_WORD - 1) + [2]


def _with_audio(folder: Path, utterance: Utterance, random: np.random.Generator) -> Utterance:
    path = folder / "audio" / f"{utterance.id}.wav"
    samples = round((utterance.duration_seconds or 0.0) * 16000)
    soundfile.write(path, 0.1 * random.standard_normal(samples), 16000, subtype="PCM_16")
    # Artefacts are renamed when they are complete.
    final = folder.with_name("data") / "audio" / path.name
    return Utterance(utterance.id, utterance.speaker, str(final), utterance.text, 0.0, samples / 16000)
