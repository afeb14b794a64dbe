from pathlib import Path

import pytest

from asr_kd.corpus.corpus import AudioFinder, hold_out_speakers, local_folder, part_names
from asr_kd.corpus.manifest import Utterance
from asr_kd.errors import AsrKdError


def speech(speakers: int) -> list[Utterance]:
    return [
        Utterance(f"s{speaker}-{place}", f"s{speaker}", "a.wav", "A")
        for speaker in range(speakers)
        for place in range(3)
    ]


@pytest.mark.parametrize(("speakers", "wanted", "held"), [(40, 0, 4), (12, 0, 2), (2, 0, 1), (12, 5, 5)])
def test_whole_speakers_are_held_out(speakers: int, wanted: int, held: int):
    rest, dev = hold_out_speakers(speech(speakers), wanted, seed=1)
    names = {utterance.speaker for utterance in dev}
    assert len(names) == held
    assert not names & {utterance.speaker for utterance in rest}
    assert sorted(rest + dev, key=lambda u: u.id) == sorted(speech(speakers), key=lambda u: u.id)


def test_the_seed_and_not_the_order_chooses_speakers():
    chosen = {seed: hold_out_speakers(speech(40), 4, seed)[1] for seed in (1, 2)}
    assert chosen[1] != chosen[2]
    backwards = hold_out_speakers(speech(40)[::-1], 4, 1)[1]
    assert sorted(u.id for u in backwards) == sorted(u.id for u in chosen[1])


@pytest.mark.parametrize(("speakers", "wanted"), [(1, 0), (3, 3)])
def test_somebody_must_be_left_to_train_on(speakers: int, wanted: int):
    with pytest.raises(AsrKdError, match=r"cannot be held out.*data\.parts\.dev"):
        hold_out_speakers(speech(speakers), wanted, 0)


def test_audio_is_found_by_any_extension(tmp_path: Path):
    for name in ("a.raw", "a.flac", "b.WAV", "c.txt"):
        (tmp_path / name).touch()
    finder = AudioFinder()
    assert finder.find(tmp_path / "a") == tmp_path / "a.flac"
    assert finder.find(tmp_path / "b") == tmp_path / "b.WAV"
    assert finder.find(tmp_path / "c") == tmp_path / "c"
    assert finder.find(tmp_path / "none" / "d") == tmp_path / "none" / "d"


def test_a_local_copy_may_lie_one_folder_deeper(tmp_path: Path):
    (tmp_path / "an4" / "etc").mkdir(parents=True)
    assert (
        local_folder(str(tmp_path), "etc") == local_folder(str(tmp_path / "an4"), "etc") == tmp_path / "an4"
    )
    with pytest.raises(AsrKdError, match=r"data\.source=.*holds etc, wav"):
        local_folder(str(tmp_path), "etc", "wav")
    with pytest.raises(AsrKdError, match="no such folder"):
        local_folder(str(tmp_path / "none"))


def test_part_names() -> None:
    assert part_names("a + b+") == ["a", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_a_sample_of_speakers_has_every_kind_in_its_share(seed: int):
    # As in AN4: names begin with the sex of the speaker.
    names = [f"f{number:02d}" for number in range(21)] + [f"m{number:02d}" for number in range(53)]
    _, dev = hold_out_speakers([Utterance(name, name, "a.wav", "A") for name in names], 0, seed)
    women = sum(utterance.speaker.startswith("f") for utterance in dev)
    assert len(dev) == 7
    assert 1 <= women <= 3
