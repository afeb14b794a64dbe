from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd import artifacts
from asr_kd.config import Config, TransferConfig, ViewConfig
from asr_kd.config.schema import StudentConfig
from asr_kd.corpus.manifest import Utterance, write_manifest
from asr_kd.errors import AsrKdError
from asr_kd.features.store import open_part
from asr_kd.layout import learns_unlabelled, transfer_folders
from asr_kd.stages import transfer, transfer_features
from tests.stages.test_train import trainable_work

WHOLE = TransferConfig()


def chosen(work: Path, **settings: object) -> set[str]:
    found = TransferConfig(**settings)  # type: ignore[arg-type]
    labels = work / "align" / "labels" / "train.npy"
    return transfer.choose(work / "features" / "train", found, labels, seed=0)


def test_fractions_are_drawn_by_utterance_and_lie_in_each_other(tmp_path: Path) -> None:
    trainable_work(tmp_path)
    sets = [chosen(tmp_path, fraction=fraction) for fraction in (0.01, 0.3, 0.6, 1.0)]
    assert [len(one) for one in sets] == [1, 6, 12, 20]
    assert all(smaller < larger for smaller, larger in pairwise(sets))


def test_utterances_are_chosen_by_their_labels(tmp_path: Path) -> None:
    trainable_work(tmp_path)
    index = open_part(tmp_path / "features" / "train").index
    labels = np.load(tmp_path / "align" / "labels" / "train.npy")
    without, among = chosen(tmp_path, without_labels=[3]), chosen(tmp_path, labels=[0, 1, 2, 4])
    expected = {one for one, span in index.spans() if 3 not in labels[span]}
    assert without == expected and among == {one for one in expected if -1 not in labels[index.span(one)]}


def test_a_view_of_given_frames_is_masked_and_keeps_the_labels(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.views = {"masked": ViewConfig(frequency_masks=1, frequency_width=3)}
    parts = transfer.training_parts(config, tmp_path, ["masked"])
    data = transfer.open_parts(parts, None, replace(WHOLE, fraction=0.5), seed=0)
    originals = [one for one in data.utterances if "~" not in one]
    copies = [one for one in data.utterances if "~" in one]
    assert copies == [f"{one}~view-masked" for one in originals]
    masked = 0
    for one, copy in zip(originals, copies, strict=True):
        np.testing.assert_array_equal(data.targets["labels"].of(one), data.targets["labels"].of(copy))
        same = data.features.of(one) == data.features.of(copy)
        assert (same | (data.features.of(copy) == 0)).all()
        masked += int((~same).any())
    assert masked > 0
    made = (tmp_path / "features" / "view-masked" / "manifest.json").stat().st_mtime_ns
    transfer_features.make_view(config, tmp_path, "masked")
    assert (tmp_path / "features" / "view-masked" / "manifest.json").stat().st_mtime_ns == made
    config.views["masked"].frequency_width = 2
    transfer_features.make_view(config, tmp_path, "masked")
    assert (tmp_path / "features" / "view-masked" / "manifest.json").stat().st_mtime_ns != made


def write_audio(work: Path, speakers: tuple[str, ...], part: str) -> list[Utterance]:
    random = np.random.default_rng(0)
    utterances = []
    for speaker in speakers:
        path = work / "audio" / part / speaker / f"{speaker}-1.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * random.standard_normal(8000), 16000)
        utterances.append(Utterance(path.stem, speaker, str(path), "HI", 0.0, 0.5))
    return utterances


@pytest.fixture
def with_audio(tmp_path: Path) -> Config:
    """Half a second of noise for each of two speakers, in the place of the toy recipe's training part."""
    config = trainable_work(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    for part, speakers in (("train", ("ann", "bob")), ("dev", ("cat",)), ("test", ("dan",))):
        write_manifest(data / f"{part}.jsonl", write_audio(tmp_path, speakers, part))
    with artifacts.create(tmp_path / "features" / "train", {"kind": "features", "audio": True}) as folder:
        utterances = write_audio(tmp_path, ("ann", "bob"), "train")
        transfer_features._extract(config, folder, utterances, None)
    np.save(tmp_path / "align" / "labels" / "train.npy", np.repeat(np.arange(4), 25).astype(np.int32))
    return config


def test_a_slower_view_is_longer_and_its_labels_with_it(with_audio: Config, tmp_path: Path) -> None:
    with_audio.views = {"slow": ViewConfig(speed=0.8, volume_decibels=3.0, noise_decibels=[10.0, 20.0])}
    (original, copy) = transfer.training_parts(with_audio, tmp_path, ["slow"])
    index = open_part(copy.features).index
    assert index.ids == ("ann-1~view-slow", "bob-1~view-slow")
    assert open_part(original.features).index.total_frames == 100
    opened = copy.open_labels(index)
    labels = np.concatenate([opened.of(name) for name in index.ids])
    assert len(labels) == index.total_frames and 120 <= len(labels) <= 126
    assert (np.bincount(labels) >= 30).all() and (np.diff(labels) >= 0).all()


def test_unlabelled_audio_has_features_and_no_labels(with_audio: Config, tmp_path: Path) -> None:
    write_audio(tmp_path, ("eve", "fay"), "unlabelled")
    with_audio.data.unlabelled = str(tmp_path / "audio" / "unlabelled")
    part = transfer.training_parts(with_audio, tmp_path, [], unlabelled=True)[1]
    index = open_part(part.features).index
    assert index.ids == ("eve-1~unlabelled", "fay-1~unlabelled")
    assert (part.open_labels(index).array == -1).all()
    with_audio.data.unlabelled = str(tmp_path / "audio" / "test")
    with pytest.raises(AsrKdError, match="speaker dan is in part test"):
        transfer_features.make_unlabelled(with_audio, tmp_path)


def test_audio_without_transcripts_is_perturbed_as_well(with_audio: Config, tmp_path: Path) -> None:
    write_audio(tmp_path, ("eve", "fay", "gus"), "unlabelled")
    (tmp_path / "audio" / "unlabelled" / "gus" / "gus-1.wav").write_bytes(b"RIFF")
    with_audio.data.unlabelled = str(tmp_path / "audio" / "unlabelled")
    with_audio.data.invalid = "skip"
    with_audio.views = {"slow": ViewConfig(speed=0.8)}
    parts = transfer.training_parts(with_audio, tmp_path, ["slow"], unlabelled=True)
    folders = transfer_folders(tmp_path, ["slow"], unlabelled=True)
    assert [part.features for part in parts] == folders
    assert [part.name for part in parts] == ["train", "view-slow", "unlabelled", "unlabelled-view-slow"]
    original, copy = (open_part(part.features) for part in parts[2:])
    assert copy.index.ids == tuple(f"{one}~unlabelled-view-slow" for one in original.index.ids)
    assert len(copy.index) == 2 and copy.index.total_frames == 126 and original.index.total_frames == 100
    assert (parts[3].open_labels(copy.index).array == -1).all()
    data = transfer.open_parts(parts, None, replace(WHOLE, fraction=0.5), seed=0)
    assert len(data.utterances) == 2  # without soft targets there is nothing to learn from the others


def test_bad_unlabelled_audio_is_refused_or_left_out_and_listed(
    with_audio: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path, ("eve", "fay", "gus"), "unlabelled")
    folder = tmp_path / "audio" / "unlabelled"
    soundfile.write(folder / "fay" / "fay-1.wav", np.linspace(-0.5, 0.5, 79), 16000)  # half a frame is 80
    (folder / "gus" / "gus-1.wav").write_bytes(b"RIFF")
    with_audio.data.unlabelled = str(folder)
    with pytest.raises(AsrKdError, match=r"(?s)2 problems \(1 audio, 1 too short\).*invalid=skip"):
        transfer_features.make_unlabelled(with_audio, tmp_path)
    with_audio.data.invalid = "skip"
    index = open_part(transfer_features.make_unlabelled(with_audio, tmp_path).path).index
    assert index.ids == ("eve-1~unlabelled",)
    said = capsys.readouterr().out
    assert "2 utterances that are left out (1 audio, 1 too short)" in said
    listed = (tmp_path / "unlabelled-problems.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in listed] == [
        "unlabelled gus-1~unlabelled",
        "unlabelled fay-1~unlabelled",
    ]
    (folder / "eve" / "eve-1.wav").unlink()
    with pytest.raises(AsrKdError, match="no valid audio is left"):
        transfer_features.make_unlabelled(with_audio, tmp_path)


def test_unlabelled_audio_takes_no_place_of_the_training_part(with_audio: Config, tmp_path: Path) -> None:
    # Files of a folder are utterances by their stems: here those of the training part.
    with_audio.data.unlabelled = str(tmp_path / "audio" / "train")
    parts = transfer.training_parts(with_audio, tmp_path, [], unlabelled=True)
    data = transfer.open_parts(parts, None, WHOLE, seed=0)
    assert list(data.utterances)[:2] == ["ann-1", "bob-1"]
    assert (data.targets["labels"].of("ann-1") >= 0).all()
    assert len(set(data.features.ids())) == 4


def test_dither_of_unlabelled_audio_follows_the_seed(with_audio: Config, tmp_path: Path) -> None:
    write_audio(tmp_path, ("eve",), "unlabelled")
    with_audio.data.unlabelled = str(tmp_path / "audio" / "unlabelled")
    digests = []
    for dither, seed in ((0.0, 0), (0.0, 1), (1.0, 1), (1.0, 2)):
        with_audio.features.dither, with_audio.seed = dither, seed
        digests.append(transfer_features.make_unlabelled(with_audio, tmp_path).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_an_empty_transfer_set_is_refused(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    parts = transfer.training_parts(config, tmp_path, [])
    with pytest.raises(AsrKdError, match=r"no utterance of .* is left"):
        transfer.open_parts(parts, None, replace(WHOLE, labels=[99]), seed=0)


def test_what_no_transfer_set_can_be_made_of_is_refused_by_name(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.data.unlabelled = "somewhere"
    with pytest.raises(AsrKdError, match=r"x\.unlabelled=always with soft_weight=0"):
        transfer.check_transfer(config, TransferConfig(unlabelled="always"), "x", soft=False)
    transfer.check_transfer(config, TransferConfig(unlabelled="always"), "x", soft=True)


@pytest.mark.parametrize(
    ("given", "transfer_set", "soft_weight", "expected"),
    [
        ("audio", TransferConfig(), 1.0, True),
        ("audio", TransferConfig(), 0.0, False),
        ("audio", TransferConfig(unlabelled="never"), 1.0, False),
        (None, TransferConfig(), 1.0, False),
        # Where some of the training part is left out, what the rest teaches is the question.
        ("audio", TransferConfig(fraction=0.1), 1.0, False),
        ("audio", TransferConfig(without_labels=[3]), 1.0, False),
        ("audio", TransferConfig(fraction=0.1, unlabelled="always"), 1.0, True),
    ],
)
def test_audio_without_transcripts_is_learnt_from_where_it_is_given(
    given: str | None, transfer_set: TransferConfig, soft_weight: float, expected: bool
) -> None:
    config = Config()
    config.data.unlabelled = given
    student = StudentConfig(soft_weight=soft_weight, transfer=transfer_set)
    assert learns_unlabelled(config, student) == expected


def test_frames_that_are_given_have_no_speed(tmp_path: Path) -> None:
    config = trainable_work(tmp_path)
    config.data.corpus = "mnist"
    config.views = {"slow": ViewConfig(speed=0.9), "moved": ViewConfig(shift_pixels=2)}
    with pytest.raises(AsrKdError, match=r"views\.slow: this corpus gives frames"):
        transfer.check_views(config, ["moved", "slow"], "x.views")
    transfer.check_views(config, ["moved"], "x.views")
