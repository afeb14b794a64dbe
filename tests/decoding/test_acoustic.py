from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_kd.compression.export import export_network
from asr_kd.decoding import acoustic
from asr_kd.decoding.acoustic import GmmScorer, NetworkScorer, load_scorer, read_log_priors, score_part
from asr_kd.decoding.network import NETWORK_FILE, OnnxNetwork
from asr_kd.decoding.systems import System, recipe_systems
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.hmm import GmmHmm
from asr_kd.hmm.densities import Densities
from asr_kd.hmm.gmm import DiagonalGmms
from asr_kd.hmm.splice import delta_transform
from asr_kd.jobs import WorkerPool
from asr_kd.models.inference import log_posteriors
from asr_kd.models.storage import load_model
from tests.work_folder import make_work


@pytest.fixture
def systems(tmp_path: Path) -> dict[str, System]:
    return {system.name: system for system in recipe_systems(make_work(tmp_path), tmp_path)}


def test_systems_in_the_order_of_the_report(systems: dict[str, System]) -> None:
    assert list(systems) == ["gmm", "member-0", "member-1", "ensemble", "student"]
    assert [folder.name for folder in systems["ensemble"].models] == ["member-0", "member-1"]


def test_no_ensemble_of_one_and_no_two_systems_of_one_name(tmp_path: Path) -> None:
    config = make_work(tmp_path, members=1)
    config.precision = "bf16"
    found = recipe_systems(config, tmp_path)
    assert [system.kind for system in found] == ["gmm", "member", "student"]
    assert {system.precision for system in found} == {"bf16"}
    config.distill.students["member-0"] = config.distill.students["student"]
    with pytest.raises(AsrKdError, match="'member-0'"):
        recipe_systems(config, tmp_path)


def test_posteriors_are_averaged_before_the_priors_are_divided_out(
    tmp_path: Path, systems: dict[str, System]
) -> None:
    frames = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float16)
    priors = np.array([0.7, 0.2, 0.1], np.float32)
    ensemble = replace(systems["ensemble"], precision="fp32")
    scores, found = NetworkScorer(ensemble, np.log(priors), "cpu")(frames, frames)
    each = [log_posteriors(load_model(folder), frames).double().exp().numpy() for folder in ensemble.models]
    mean = (each[0] + each[1]) / 2
    np.testing.assert_allclose(found.double().exp().numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(np.exp(scores), mean / priors, rtol=1e-5)


def test_scores_on_disk_are_the_systems_up_to_a_constant_a_frame(
    tmp_path: Path, systems: dict[str, System]
) -> None:
    labels = tmp_path / "align" / "labels"
    with WorkerPool(2) as pool:
        quality = score_part(
            pool, systems["student"], tmp_path / "features" / "test", labels, tmp_path / "scores.npy"
        )
    part = open_part(tmp_path / "features" / "test")
    scorer = NetworkScorer(systems["student"], read_log_priors(labels), "cpu")
    expected = np.concatenate(
        [scorer(part.fbank[span], part.mfcc[span])[0] for _, span in part.index.spans()]
    )
    stored = np.load(tmp_path / "scores.npy")
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, expected - expected.max(axis=1, keepdims=True), rtol=1e-3, atol=1e-4)

    wanted = np.load(labels / "test.npy")
    known = wanted >= 0
    posteriors = torch.from_numpy(expected).log_softmax(dim=1).numpy()  # priors are equal
    metrics = quality.total
    assert metrics.frames == known.sum() == len(wanted) - 1
    assert metrics.correct == (posteriors.argmax(axis=1) == wanted)[known].sum()
    assert metrics.cross_entropy == pytest.approx(-posteriors[known, wanted[known]].mean(), rel=1e-5)
    assert len(quality.utterances) == len(part.index)
    found = posteriors.argmax(axis=1)
    pairs = [(int(a), int(b)) for a, b in zip(wanted, found, strict=True) if a >= 0 and a != b]
    assert quality.confused == Counter(pairs)


def test_gmm_scores_are_likelihoods_and_its_posteriors_follow_bayes_rule(
    tmp_path: Path, systems: dict[str, System], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    gmms = DiagonalGmms.single(random.standard_normal((3, 39)), np.ones((3, 39)))
    densities = Densities(delta_transform(13), gmms)
    model = GmmHmm(definition=None, densities=densities, settings=None)  # type: ignore[arg-type]
    monkeypatch.setattr(GmmHmm, "load", lambda folder: model)
    priors = np.array([0.7, 0.2, 0.1], np.float32)
    mfcc = random.standard_normal((5, 13)).astype(np.float32)
    scorer = GmmScorer(systems["gmm"], np.log(priors))
    scores, posteriors = scorer(np.zeros((5, 8), np.float16), mfcc)
    np.testing.assert_allclose(scores, model.log_likelihoods(mfcc))
    joint = np.exp(scores.astype(np.float64)) * priors
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posteriors.double().exp().numpy(), expected, rtol=1e-4)
    assert scorer.parameter_count == 39 * 9 * 13 + 3 * (1 + 39 + 39)


def test_senones_that_never_occurred_get_no_infinite_score(tmp_path: Path) -> None:
    np.save(tmp_path / "priors.npy", np.array([0.5, 0.5, 0.0], np.float32))
    assert np.isfinite(read_log_priors(tmp_path)).all()


def test_exported_networks_compute_with_the_threads_given(
    tmp_path: Path, systems: dict[str, System], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compress" / "tiny"
    folder.mkdir(parents=True)
    export_network(load_model(systems["student"].models[0]), folder / NETWORK_FILE)
    given: list[int] = []

    def load(path: Path, threads: int) -> OnnxNetwork:
        given.append(threads)
        return OnnxNetwork(path, threads)

    monkeypatch.setattr(acoustic, "OnnxNetwork", load)
    tiny = System("tiny", "int8", (folder,))
    frames = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float16)
    scores = [load_scorer(tiny, tmp_path / "align" / "labels", "cpu", n)(frames, frames)[0] for n in (1, 2)]
    assert given == [1, 2]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
