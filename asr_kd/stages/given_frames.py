"""Stages 0 to 2 of a corpus of labelled frames: laid out as those stages would have left them."""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import data_prep
from asr_kd.artifacts import create, find, fingerprint
from asr_kd.config import Config
from asr_kd.corpus.given_frames import GivenFrames
from asr_kd.errors import AsrKdError
from asr_kd.features.store import create_part
from asr_kd.frames import FrameIndex
from asr_kd.planning import Wanted
from asr_kd.progress import say

# Frames that are given have no cepstra; the store has room for some.
_NO_CEPSTRA = 1
PARTS = ("train", "dev", "test")


def is_given(config: Config) -> bool:
    """Whether the recipe's corpus gives labelled frames in the place of audio and transcripts."""
    return data_prep.gives_frames(config.data.corpus)


def plan(config: Config, work: Path) -> Iterator[Wanted]:
    """What the stage makes, see `planning`."""
    inputs = functools.cache(lambda: _digests(_read(config)))

    def made_from(name: str) -> dict[str, Any]:
        return fingerprint(name, {}, inputs())

    for path in _folders(work):
        yield Wanted(path, functools.partial(made_from, path.name))


def run(config: Config, work: Path) -> None:
    """Write ``data``, ``features/<part>`` and ``align/labels``, or find them up to date."""
    parts, paths = _read(config), _folders(work)
    inputs = _digests(parts)
    if all(find(path, fingerprint(path.name, {}, inputs)) for path in paths):
        say("data: up to date")
        return
    with create(paths[0], fingerprint("data", {}, inputs)) as partial:
        summary = {
            name: {"utterances": len(part.ids), "frames": len(part.labels)} for name, part in parts.items()
        }
        (partial / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    for name, part in parts.items():
        _write_features(work / "features" / name, part, inputs)
    _write_labels(paths[-1], parts, inputs)
    counts = ", ".join(f"{name} {len(part.labels):,}" for name, part in parts.items())
    say(f"data: labelled frames: {counts}")


def refuse_decoding(config: Config) -> None:
    """Raise what there is to say to somebody who would decode digits.

    Raises:
        AsrKdError: the corpus has no words.
    """
    if is_given(config):
        raise AsrKdError(
            f"recipe={config.recipe}: {config.data.corpus} gives labelled frames and no words, so there is "
            "nothing to decode; its results are in distill/frames: stop_stage=distill"
        )


def _write_features(path: Path, part: GivenFrames, inputs: dict[str, str]) -> None:
    with create(path, fingerprint(path.name, {}, inputs)) as partial:
        # Every utterance is a speaker of its own: what is resampled in statistics.
        index = FrameIndex.from_lengths(part.ids, part.ids, part.lengths)
        stored = create_part(partial, index, part.features.shape[1], _NO_CEPSTRA)
        stored.fbank[:] = part.features


def _write_labels(path: Path, parts: dict[str, GivenFrames], inputs: dict[str, str]) -> None:
    classes = parts["train"].classes
    with create(path, fingerprint(path.name, {}, inputs)) as partial:
        for name, part in parts.items():
            np.save(partial / f"{name}.npy", part.labels.astype(np.int32))
        counts = np.bincount(parts["train"].labels, minlength=classes)
        np.save(partial / "priors.npy", (counts / counts.sum()).astype(np.float32))
        (partial / "summary.json").write_text(json.dumps({"senones": classes}) + "\n", encoding="utf-8")


def _folders(work: Path) -> list[Path]:
    return [work / "data", *(work / "features" / part for part in PARTS), work / "align" / "labels"]


def _read(config: Config) -> dict[str, GivenFrames]:
    folder = Path(config.data.downloads) / config.data.corpus
    return data_prep.find_frames(config.data.corpus)(config.data, folder, config.seed)


def _digests(parts: Mapping[str, GivenFrames]) -> dict[str, str]:
    return {name: _digest(part) for name, part in parts.items()}


def _digest(part: GivenFrames) -> str:
    digest = hashlib.sha256(json.dumps([part.ids, part.lengths]).encode())
    digest.update(part.features.tobytes())
    digest.update(part.labels.tobytes())
    return digest.hexdigest()
