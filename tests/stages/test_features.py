import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd import artifacts
from asr_kd.config import Config
from asr_kd.corpus.manifest import Utterance, read_manifest, write_manifest
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.stages import features


@pytest.fixture
def config() -> Config:
    return Config(recipe="test", workers=1, device="cpu")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    generator = np.random.default_rng(8)
    parts: dict[str, list[Utterance]] = {}
    for part, speaker in (("train", "ann"), ("train", "bob"), ("dev", "cid"), ("test", "dan")):
        for number in range(2):
            path = tmp_path / f"{speaker}-{number}.flac"
            soundfile.write(path, generator.standard_normal(8000) * 0.1, 16000)
            utterance = Utterance(path.stem, speaker, str(path), "WORD", 0.0, 0.5)
            parts.setdefault(part, []).append(utterance)
    write_data(tmp_path, parts)
    return tmp_path


def write_data(work: Path, parts: dict[str, list[Utterance]]) -> None:
    with artifacts.create(work / "data", {"kind": "data"}) as folder:
        for part, utterances in parts.items():
            write_manifest(folder / f"{part}.jsonl", utterances)
            digests = sorted(f"{one.id} {artifacts.file_digest(Path(one.audio))}\n" for one in utterances)
            (folder / f"{part}_audio.txt").write_text("".join(digests))


def written(work: Path) -> dict[str, int]:
    return {part: (work / "features" / part / "manifest.json").stat().st_mtime_ns for part in features.PARTS}


def test_writes_every_part(config: Config, work: Path) -> None:
    features.run(config, work)
    part = open_part(work / "features" / "train")
    assert part.index.speakers == ("ann", "ann", "bob", "bob")
    assert part.fbank.shape == (200, 40)
    assert part.mfcc.shape == (200, 13)
    assert open_part(work / "features" / "test").index.ids == ("dan-0", "dan-1")
    summary = json.loads((work / "features" / "train" / "summary.json").read_text())
    assert (summary["utterances"], summary["speakers"], summary["frames"]) == (4, 2, 200)


def test_is_skipped_when_complete(config: Config, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.run(config, work)
    before = written(work)
    capsys.readouterr()
    features.run(config, work)
    assert written(work) == before
    assert "features/train: up to date" in capsys.readouterr().out


def test_only_parts_that_changed_are_made_again(config: Config, work: Path) -> None:
    features.run(config, work)
    before = written(work)
    parts = {part: read_manifest(work / "data" / f"{part}.jsonl") for part in features.PARTS}
    parts["dev"] = [replace(utterance, id=f"x-{utterance.id}") for utterance in parts["dev"]]
    write_data(work, parts)
    features.run(config, work)
    after = written(work)
    assert after["dev"] != before["dev"]
    assert (after["train"], after["test"]) == (before["train"], before["test"])


def test_other_audio_of_the_same_length_makes_its_part_again(config: Config, work: Path) -> None:
    features.run(config, work)
    before = written(work)
    soundfile.write(work / "cid-0.flac", np.random.default_rng(9).standard_normal(8000) * 0.1, 16000)
    write_data(work, {part: read_manifest(work / "data" / f"{part}.jsonl") for part in features.PARTS})
    features.run(config, work)
    after = written(work)
    assert {part for part in features.PARTS if after[part] != before[part]} == {"dev"}


def test_changed_settings_make_it_again_with_the_same_bytes_when_changed_back(
    config: Config, work: Path
) -> None:
    features.run(config, work)
    digest = artifacts.Artifact(work / "features" / "train").digest
    config.features.mel_bins = 20
    features.run(config, work)
    assert open_part(work / "features" / "train").fbank.shape == (200, 20)
    config.features.mel_bins = 40
    config.workers = 2
    features.run(config, work)
    assert artifacts.Artifact(work / "features" / "train").digest == digest


def test_an_empty_part_is_named(config: Config, work: Path) -> None:
    parts = {part: read_manifest(work / "data" / f"{part}.jsonl") for part in features.PARTS}
    write_data(work, {**parts, "dev": []})
    with pytest.raises(AsrKdError, match=r"dev\.jsonl has no utterances"):
        features.run(config, work)


def test_missing_data_is_named(config: Config, tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="data is not there"):
        features.run(config, tmp_path)
