from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_kd.config import FeatureConfig
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError
from asr_kd.features import extract as module
from asr_kd.features.extract import Extraction, extract, load_waveform
from asr_kd.features.fbank import Fbank
from asr_kd.features.mfcc import Mfcc
from asr_kd.features.store import Part

EXTRACTION = Extraction(FeatureConfig(), 16000)


def write_corpus(folder: Path) -> list[Utterance]:
    """Two speakers with three utterances each, of different loudness."""
    generator = np.random.default_rng(7)
    utterances = []
    for speaker, scale in (("ann", 0.01), ("bob", 0.3)):
        for number, samples in enumerate((4000, 8100, 12345)):
            path = folder / f"{speaker}-{number}.wav"
            soundfile.write(path, np.clip(generator.standard_normal(samples) * scale, -1, 1), 16000)
            utterances.append(Utterance(path.stem, speaker, str(path), "WORD", 0.0, samples / 16000))
    return utterances


def run(folder: Path, utterances: list[Utterance], workers: int = 1, **settings: Any) -> Part:
    folder.mkdir()
    extraction = Extraction(FeatureConfig(**settings), 16000)
    return extract({folder: utterances}, extraction, workers)[0]


def raw(utterances: list[Utterance]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    waveforms = [load_waveform(utterance, EXTRACTION) for utterance in utterances]
    fbank, mfcc = Fbank(FeatureConfig(), 16000), Mfcc(FeatureConfig(), 16000)
    return [fbank.compute(waveform) for waveform in waveforms], [
        mfcc.compute(waveform) for waveform in waveforms
    ]


def test_normalises_by_speaker(tmp_path: Path) -> None:
    utterances = write_corpus(tmp_path)
    part = run(tmp_path / "part", utterances)
    assert part.index.ids == tuple(utterance.id for utterance in utterances)
    fbank, mfcc = raw(utterances)
    assert part.index.lengths.tolist() == [len(frames) for frames in fbank]
    bob = np.concatenate(fbank[3:])
    expected = (fbank[4] - bob.mean(axis=0)) / bob.std(axis=0)
    np.testing.assert_allclose(part.fbank[part.index.span("bob-1")], expected, atol=5e-3)
    expected = mfcc[4] - np.concatenate(mfcc[3:]).mean(axis=0)
    np.testing.assert_allclose(part.mfcc[part.index.span("bob-1")], expected, atol=5e-3)


def test_normalises_by_utterance(tmp_path: Path) -> None:
    utterances = write_corpus(tmp_path)
    part = run(tmp_path / "part", utterances, normalise="utterance")
    fbank, mfcc = raw(utterances)
    for place in range(6):
        expected = (fbank[place] - fbank[place].mean(axis=0)) / fbank[place].std(axis=0)
        np.testing.assert_allclose(part.fbank[part.index.span(place)], expected, atol=1e-2)
    # MFCCs go by speaker whatever the setting: the alignment models are told so.
    expected = mfcc[0] - np.concatenate(mfcc[:3]).mean(axis=0)
    np.testing.assert_allclose(part.mfcc[part.index.span(0)], expected, atol=5e-3)


def test_the_number_of_workers_and_other_parts_change_nothing(tmp_path: Path) -> None:
    utterances = write_corpus(tmp_path)
    one = run(tmp_path / "one", utterances, workers=1)
    (tmp_path / "both").mkdir()
    (tmp_path / "bob").mkdir()
    parts = {tmp_path / "both": utterances, tmp_path / "bob": utterances[3:]}
    both, bob = extract(parts, EXTRACTION, 2)
    assert one.fbank.tobytes() == both.fbank.tobytes()
    assert one.mfcc.tobytes() == both.mfcc.tobytes()
    assert both.fbank[both.index.offsets[3] :].tobytes() == bob.fbank.tobytes()


def test_a_speaker_in_pieces_is_normalised_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = write_corpus(tmp_path)
    whole = run(tmp_path / "whole", utterances)
    monkeypatch.setattr(module, "PIECE_SECONDS", 0.8)
    pieces = run(tmp_path / "pieces", utterances)
    np.testing.assert_allclose(pieces.fbank, whole.fbank, atol=5e-3)
    np.testing.assert_allclose(pieces.mfcc, whole.mfcc, atol=1e-3)


def test_pieces_are_bounded_and_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = write_corpus(tmp_path)[:3]
    monkeypatch.setattr(module, "PIECE_SECONDS", 0.8)
    bunches = module._bunches(utterances)
    assert [[utterance.id for utterance in bunch] for bunch in bunches] == [["ann-0", "ann-1"], ["ann-2"]]
    monkeypatch.setattr(module, "PIECE_SECONDS", 0.1)
    assert [len(bunch) for bunch in module._bunches(utterances)] == [1, 1, 1]


def test_durations_are_looked_up_where_the_manifest_has_none(tmp_path: Path) -> None:
    utterances = write_corpus(tmp_path)
    known = run(tmp_path / "known", utterances)
    unknown = [replace(utterance, duration_seconds=None) for utterance in utterances]
    assert run(tmp_path / "unknown", unknown).fbank.tobytes() == known.fbank.tobytes()


def test_audio_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    samples = np.zeros(8000, np.float32)
    samples[5] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    utterance = Utterance("u-7", "ann", str(path), "WORD", 0.0, 0.5)
    with pytest.raises(AsrKdError, match=r"u-7.*not finite"):
        run(tmp_path / "part", [utterance])


def test_audio_that_has_changed_is_named(tmp_path: Path) -> None:
    utterance = write_corpus(tmp_path)[0]
    soundfile.write(utterance.audio, np.zeros(3000, np.float32), 16000)
    with pytest.raises(AsrKdError, match="ann-0"):
        run(tmp_path / "part", [utterance])


def test_a_rounded_duration_decides_the_length(tmp_path: Path) -> None:
    utterance = write_corpus(tmp_path)[0]
    for seconds, samples in ((0.24, 3840), (0.26, 4160)):
        waveform = load_waveform(replace(utterance, duration_seconds=seconds), EXTRACTION)
        assert len(waveform) == samples


def test_an_utterance_without_a_frame_is_named(tmp_path: Path) -> None:
    utterance = replace(write_corpus(tmp_path)[0], duration_seconds=0.004)
    with pytest.raises(AsrKdError, match=r"ann-0.*shorter"):
        run(tmp_path / "part", [utterance])


def test_dither_is_drawn_by_name(tmp_path: Path) -> None:
    first, second, *_ = write_corpus(tmp_path)
    dithered = Extraction(FeatureConfig(dither=1.0), 16000, seed=3)
    noise = load_waveform(first, dithered) - load_waveform(first, EXTRACTION)
    assert 0.9 < noise.std() * 32768 < 1.1
    np.testing.assert_array_equal(load_waveform(first, dithered), load_waveform(first, dithered))
    other = load_waveform(second, dithered) - load_waveform(second, EXTRACTION)
    assert np.abs(noise - other[: len(noise)]).max() > 1e-5


@pytest.mark.parametrize(("name", "value"), [("backend", "cuda"), ("normalise", "none")])
def test_refuses_unknown_choices(tmp_path: Path, name: str, value: str) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(AsrKdError, match=f"features.{name}={value}: choose one of"):
        run(tmp_path / "part", write_corpus(tmp_path), **settings)
