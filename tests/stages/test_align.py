import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr_kd import artifacts
from asr_kd.config import (
    AlignConfig,
    Config,
    DataConfig,
    LmConfig,
    OptimiserConfig,
    RealignConfig,
    TrainConfig,
)
from asr_kd.corpus.manifest import Utterance, write_manifest
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.hmm import GmmHmm
from asr_kd.hmm.labels import utterance_labels, write_labels
from asr_kd.stages import align
from tests.hmm.toy import CONFIG, LEXICON, toy_corpus
from tests.work_folder import write_features

PARTS = {"train": 40, "dev": 6, "test": 6}


def _make_inputs(work: Path) -> None:
    """What stages data and features leave behind, of the toy language."""
    with artifacts.create(work / "data", {"kind": "data"}) as folder:
        for seed, (part, utterances) in enumerate(PARTS.items()):
            toy = toy_corpus(utterances, seed)
            pairs = zip(toy.index.ids, toy.index.speakers, strict=True)
            write_manifest(
                folder / f"{part}.jsonl",
                [
                    Utterance(name, speaker, "none", " ".join(toy.transcripts[name]))
                    for name, speaker in pairs
                ],
            )
            write_features(work, part, toy.index, toy.mfcc, toy.mfcc)
        LEXICON.write(folder / "lexicon.txt")
        LEXICON.write(folder / "lexicon_align.txt")
        (folder / "lm_text.txt").write_text("ONE TWO\n")
        (folder / "given.arpa").write_text(
            "\\data\\\nngram 1=4\n\n\\1-grams:\n-99 <s>\n-0.4 </s>\n-0.5 ONE\n-0.5 TWO\n\n\\end\\\n"
        )


def _config(work: Path) -> Config:
    return Config(
        recipe="toy",
        work=str(work),
        workers=1,
        device="cpu",
        data=DataConfig(corpus="toy"),
        align=AlignConfig(gmm=CONFIG),
        lms={"bigram": LmConfig(order=2)},
        models={
            "small": {
                "kind": "dnn",
                "hidden_layers": 1,
                "hidden_units": 16,
                "left_context": 2,
                "right_context": 2,
            }
        },
        train=TrainConfig(optimiser=OptimiserConfig(epochs=3, batch_frames=64, peak_learning_rate=1e-2)),
    )


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("aligned")
    _make_inputs(work)
    align.run(_config(work), work)
    return work


def _copy(aligned: Path, work: Path) -> Config:
    shutil.copytree(aligned, work, dirs_exist_ok=True)
    return _config(work)


def test_everything_is_written(aligned: Path) -> None:
    model = GmmHmm.load(aligned / "align" / "model")
    labels = aligned / "align" / "labels"
    summary = json.loads((labels / "summary.json").read_text())
    assert summary == {"senones": model.senones, "failed": {part: [] for part in PARTS}}
    priors = np.load(labels / "priors.npy")
    assert priors.shape == (model.senones,) and priors.sum() == pytest.approx(1)
    for part in PARTS:
        own = np.load(labels / f"{part}.npy")
        assert own.dtype == np.int32 and len(own) == open_part(aligned / "features" / part).index.total_frames
        assert own.min() >= 0 and own.max() < model.senones
    graph = aligned / "align" / "graph-bigram"
    assert {file.name for file in graph.iterdir()} == {
        "HCLG.fst",
        "words.txt",
        "G.arpa",
        "summary.json",
        "manifest.json",
    }


def test_a_changed_language_model_rebuilds_its_graph_alone(
    aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _copy(aligned, tmp_path)
    align.run(config, tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "alignment model: up to date",
        "labels: up to date",
        "graph bigram: up to date",
    ]
    config.lms = {
        "bigram": LmConfig(order=2),
        "own": LmConfig(arpa="given"),
        "plain": LmConfig(extra_text=False),
    }
    align.run(config, tmp_path)
    said = capsys.readouterr().out
    assert said.count("up to date") == 3
    assert "graph own: 2 words" in said and "graph plain: 4 words" in said
    # The extra text is an input of the models that use it, and of those alone.
    with artifacts.create(tmp_path / "data", {"kind": "data", "changed": True}) as folder:
        shutil.copytree(tmp_path / "data", folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        (folder / "lm_text.txt").write_text("TWO TWO\n")
    align.run(config, tmp_path)
    said = capsys.readouterr().out
    assert "graph own: up to date" in said and "graph plain: up to date" in said
    assert "labels: up to date" in said and "graph bigram: 4 words" in said


@pytest.mark.parametrize("suffix", [".txt", ".ark"])
def test_exported_labels_come_back(aligned: Path, tmp_path: Path, suffix: str) -> None:
    config = _copy(aligned, tmp_path / "work")
    labels = tmp_path / "work" / "align" / "labels"
    source = tmp_path / "elsewhere"
    align.export_labels(tmp_path / "work", source, suffix)
    assert sorted(path.name for path in source.iterdir()) == [f"{part}{suffix}" for part in sorted(PARTS)]
    shutil.rmtree(labels)
    config.align.labels = str(source)
    align.run(config, tmp_path / "work")
    for name in ("train.npy", "dev.npy", "test.npy", "priors.npy"):
        np.testing.assert_array_equal(np.load(labels / name), np.load(aligned / "align" / "labels" / name))


def test_labels_of_another_model_need_its_graph(aligned: Path, tmp_path: Path) -> None:
    work, source = tmp_path / "work", tmp_path / "elsewhere"
    config = _copy(aligned, work)
    source.mkdir()
    for part in PARTS:
        index = open_part(work / "features" / part).index
        foreign = np.load(work / "align" / "labels" / f"{part}.npy") + 1000
        write_labels(source / f"{part}.txt", utterance_labels(index, foreign))
    config.align.labels = str(source)
    with pytest.raises(AsrKdError, match=r"pdf-id 10\d\d, but the graph knows .* senones"):
        align.run(config, work)

    hclg = tmp_path / "hclg"
    shutil.move(work / "align" / "graph-bigram", hclg)
    shutil.rmtree(work / "align")
    for part in PARTS:
        index = open_part(work / "features" / part).index
        known = np.load(aligned / "align" / "labels" / f"{part}.npy")
        write_labels(source / f"{part}.txt", utterance_labels(index, known))
    config.align.hclg = str(hclg)
    align.run(config, work)
    assert not (work / "align" / "model").exists()
    for name in ("HCLG.fst", "words.txt"):
        assert (work / "align" / "graph-bigram" / name).read_bytes() == (hclg / name).read_bytes()
    summary = json.loads((work / "align" / "labels" / "summary.json").read_text())
    assert summary["senones"] == GmmHmm.load(aligned / "align" / "model").senones

    config.lms["second"] = LmConfig()
    with pytest.raises(AsrKdError, match="brings one graph"):
        align.run(config, work)


def test_realignment_with_a_network(
    aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _copy(aligned, tmp_path)
    config.align.realign = RealignConfig(rounds=1, model="small", optimiser=config.train.optimiser)
    align.run(config, tmp_path)
    assert "realignment round 1:" in capsys.readouterr().out
    before, after = (
        np.load(tmp_path / "align" / name / "train.npy") for name in ("labels-round-0", "labels")
    )
    np.testing.assert_array_equal(before, np.load(aligned / "align" / "labels" / "train.npy"))
    assert 0 < np.mean(before != after) < 0.5
    assert json.loads((tmp_path / "align" / "labels" / "summary.json").read_text())["failed"]["train"] == []
    align.run(config, tmp_path)
    assert capsys.readouterr().out.count("up to date") == 5
