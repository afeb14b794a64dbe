import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asr_kd.artifacts import Artifact
from asr_kd.config import Config, TeacherConfig
from asr_kd.errors import AsrKdError
from asr_kd.models.metrics import FrameMetrics
from asr_kd.scoring.transcripts import read_references, read_transcripts
from asr_kd.scoring.wer import count_errors, total
from asr_kd.stages import decode
from tests.work_folder import make_model, make_work

NETWORKS = ("member-0", "member-1", "ensemble", "student")


def make_networks(work: Path, noise: float = 0.5, lms: tuple[str, ...] = ("bigram",)) -> Config:
    """A recipe whose graph was given, so that there is no GMM to decode."""
    config = make_work(work, noise=noise, lms=lms)
    config.align.hclg = "given"
    return config


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A decoded recipe; tests that change it work on a copy."""
    work = tmp_path_factory.mktemp("work")
    config = make_networks(work, noise=0.7, lms=("bigram", "loop"))
    config.decode.tuning_seconds = 1.0  # dev has about 2 s
    decode.run(config, work)
    return config, work


def copy(decoded: tuple[Config, Path], to: Path) -> tuple[Config, Path]:
    config, work = deepcopy(decoded[0]), to / "work"
    shutil.copytree(decoded[1], work)
    return config, work


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_system_with_every_language_model(decoded: tuple[Config, Path]) -> None:
    _, work = decoded
    for lm in ("bigram", "loop"):
        for name in NETWORKS:
            folder = work / "decode" / lm / name
            Artifact(folder).verify()
            metrics, tuning = read(folder / "metrics.json"), read(folder / "tuning.json")
            assert {file.name for file in folder.iterdir()} == {
                "dev.txt", "test.txt", "tuning.json", "metrics.json", "frames.json", "manifest.json",
            }  # fmt: skip
            assert (metrics["system"], metrics["lm"]) == (name, lm)
            assert metrics["acoustic_scale"] == tuning["acoustic_scale"]
    assert not list((work / "decode").glob(".*"))


@pytest.mark.parametrize("part", ["dev", "test"])
def test_metrics_are_those_of_the_hypotheses(decoded: tuple[Config, Path], part: str) -> None:
    folder = decoded[1] / "decode" / "bigram" / "student"
    references = read_references(decoded[1] / "data" / f"{part}.jsonl")
    counts = total(count_errors(references, read_transcripts(folder / f"{part}.txt")).values())
    found = read(folder / "metrics.json")["parts"][part]
    assert (found["errors"], found["words"], found["wer"]) == (counts.errors, counts.words, counts.wer)
    assert found["wer"] < 0.5
    assert found["frame_accuracy"] > 0.7
    assert found["frames"] == 10 * found["words"] - 1  # one frame has no label
    frames = read(folder / "frames.json")[part]
    assert list(frames["utterances"]) == list(references)
    sums = [sum(column) for column in zip(*frames["utterances"].values(), strict=True)]
    assert sums[0] == found["frames"]
    assert sums[1] == sums[0] - sum(count for _, _, count in frames["confused_senones"])
    assert sums[1] / sums[0] == found["frame_accuracy"]
    assert sums[2] / sums[0] == pytest.approx(found["cross_entropy"])


def test_parameters_of_an_ensemble_are_those_of_its_members(decoded: tuple[Config, Path]) -> None:
    folder = decoded[1] / "decode" / "bigram"
    found = {name: read(folder / name / "metrics.json")["parameters"] for name in NETWORKS}
    assert found["ensemble"] == found["member-0"] + found["member-1"]
    assert found["member-0"] == (8 * 8 + 8) + (8 * 3 + 3)


def test_scale_and_beam_are_tuned_on_dev_alone(decoded: tuple[Config, Path]) -> None:
    folder = decoded[1] / "decode" / "bigram" / "student"
    tuning, metrics = read(folder / "tuning.json"), read(folder / "metrics.json")
    dev = list(read_references(decoded[1] / "data" / "dev.jsonl").values())
    # Every third utterance: they make about a second.
    assert {trial["words"] for trial in tuning["trials"]} == {sum(map(len, dev[::3]))}
    fewest = min(trial["errors"] for trial in tuning["trials"] if trial["beam"] == 20.0)
    chosen = [trial for trial in tuning["trials"] if trial["acoustic_scale"] == tuning["acoustic_scale"]]
    assert chosen[0]["errors"] == fewest
    assert metrics["beam"] == tuning["beam"]


def test_a_second_run_decodes_only_what_changed_whatever_the_workers(
    decoded: tuple[Config, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, work = copy(decoded, tmp_path)
    member = work / "train" / "member-1"
    first = {name: Artifact(work / "decode/bigram" / name).digest for name in NETWORKS}
    shutil.rmtree(member)
    make_model(member, seed=5)
    shutil.rmtree(work / "decode/bigram/student")
    config.decode.lm = "loop"  # what the report puts first decides nothing here
    config.workers = 1
    decode.run(config, work)
    second = {name: Artifact(work / "decode/bigram" / name).digest for name in NETWORKS}
    assert "decode/*/member-0: up to date" in capsys.readouterr().out
    # The student's second decoding, in one worker, is the first one's in two.
    assert {name for name in NETWORKS if first[name] != second[name]} == {"member-1", "ensemble"}


def test_an_ensemble_is_decoded_anew_when_a_senone_mapping_changes(tmp_path: Path) -> None:
    config = make_networks(tmp_path)
    make_model(tmp_path / "elsewhere", seed=5)
    mapping = tmp_path / "map.npy"
    config.distill.teachers["other"] = TeacherConfig(str(tmp_path / "elsewhere"), str(mapping))
    config.train.members, config.distill.students = 1, {}
    posteriors = []
    for senones in ([0, 1, 2], [1, 0, 2]):
        np.save(mapping, np.array(senones))
        decode.run(config, tmp_path)
        metrics = read(tmp_path / "decode" / "bigram" / "ensemble" / "metrics.json")
        posteriors.append(metrics["parts"]["test"]["cross_entropy"])
    assert posteriors[0] < posteriors[1]


def test_a_gpu_is_named_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_networks(tmp_path)
    used: list[str] = []

    def score(*arguments: Any) -> FrameMetrics:
        used.append(arguments[-1])
        return FrameMetrics(0, 0.0, 0)

    monkeypatch.setattr(decode, "resolve_device", lambda _: torch.device("cuda:1"))
    monkeypatch.setattr(decode, "score_part", score)
    with pytest.raises(AsrKdError, match="4 of 4 systems failed"):  # there is nothing to decode
        decode.run(config, tmp_path)
    assert used == 8 * ["cuda:1"]


def test_models_of_other_senones_are_refused(tmp_path: Path) -> None:
    config = make_networks(tmp_path)
    make_model(tmp_path / "train" / "member-0", seed=0, senones=4)
    with pytest.raises(AsrKdError, match=r"member-0 knows 4 senones, but the labels have 3"):
        decode.run(config, tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    config = make_networks(tmp_path)
    config.train.members = 3
    with pytest.raises(AsrKdError, match=r"member-2"):
        decode.run(config, tmp_path)
