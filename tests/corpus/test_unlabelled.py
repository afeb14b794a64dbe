import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_kd.corpus.manifest import Utterance
from asr_kd.corpus.unlabelled import read_unlabelled, refuse_known_speakers
from asr_kd.errors import AsrKdError


def write_audio(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160), 16000)


def test_a_folder_gives_every_audio_file_and_its_first_folder_is_the_speaker(tmp_path: Path) -> None:
    write_audio(tmp_path / "zoe" / "book" / "z-1.flac")
    write_audio(tmp_path / "ann" / "a-1.wav")
    (tmp_path / "ann" / "notes.txt").write_text("no audio")
    found = read_unlabelled(str(tmp_path))
    assert [(one.id, one.speaker, one.text) for one in found] == [("a-1", "ann", ""), ("z-1", "zoe", "")]


def test_a_manifest_names_audio_from_its_own_folder_on(tmp_path: Path) -> None:
    lines = [{"id": "u", "speaker": "s", "audio": "clips/u.wav", "text": "is not read", "start_seconds": 1.5}]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (found,) = read_unlabelled(str(tmp_path / "m.jsonl"))
    assert found == Utterance("u", "s", str(tmp_path / "clips" / "u.wav"), "", 1.5)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="no such manifest or folder"):
        read_unlabelled(str(tmp_path / "none"))
    with pytest.raises(AsrKdError, match="no audio in it"):
        read_unlabelled(str(tmp_path))
    (tmp_path / "m.jsonl").write_text('\n{"id": "u"}\n')
    with pytest.raises(AsrKdError, match=r"m\.jsonl:2: not an utterance"):
        read_unlabelled(str(tmp_path / "m.jsonl"))
    write_audio(tmp_path / "a" / "same.wav")
    write_audio(tmp_path / "b" / "same.wav")
    with pytest.raises(AsrKdError, match="utterance same is there twice"):
        read_unlabelled(str(tmp_path))


@pytest.mark.parametrize("line", ['{"id": 1, "speaker": "s", "audio": "a.wav"}', '["id"]', '"\\ud800"'])
def test_a_line_that_is_no_utterance_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"id": "u", "speaker": "s", "audio": "a.wav"}}\n{line}\n')
    with pytest.raises(AsrKdError, match=r"m\.jsonl:2: "):
        read_unlabelled(str(tmp_path / "m.jsonl"))
    (tmp_path / "m.jsonl").write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(AsrKdError, match=r"m\.jsonl:1 is not UTF-8"):
        read_unlabelled(str(tmp_path / "m.jsonl"))


def test_names_that_no_manifest_can_hold_are_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "ann" / "a.wav")
    (tmp_path / "ann" / "a.wav").rename(tmp_path / "ann" / "caf\udce9.wav")
    with pytest.raises(AsrKdError, match=r"ann/caf\\udce9\.wav: the name of this file is not UTF-8"):
        read_unlabelled(str(tmp_path))


def test_speakers_of_dev_and_test_are_refused() -> None:
    one, other = Utterance("1", "ann", "", ""), Utterance("2", "bob", "", "HELLO")
    refuse_known_speakers([one], [other], "test")
    with pytest.raises(AsrKdError, match="speaker bob is in part test"):
        refuse_known_speakers([one, other], [other], "test")
