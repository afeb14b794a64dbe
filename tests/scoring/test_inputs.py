import json
from pathlib import Path

import pytest

from asr_kd.errors import AsrKdError
from asr_kd.scoring.inputs import read_hypotheses, read_reference

REFERENCES = {"u1": ["A", "B"], "u2": []}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_kaldi_text_and_data_directory(tmp_path: Path) -> None:
    write(tmp_path / "text", "u1 A B\nu2\n")
    assert read_hypotheses(tmp_path / "text", {}) == REFERENCES
    assert read_reference(tmp_path / "text").speakers == {}
    write(tmp_path / "utt2spk", "u1 ann\nu2 bob\nu3 bob\n")
    found = read_reference(tmp_path)
    assert (found.words, found.speakers) == (REFERENCES, {"u1": "ann", "u2": "bob"})


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"id": "u1", "text": "A B", "speaker": "ann"}, {"id": "u2", "text": "", "speaker": "bob"}]
    path = write(tmp_path / "dev.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = read_reference(path)
    assert (found.words, found.speakers) == (REFERENCES, {"u1": "ann", "u2": "bob"})
    assert read_hypotheses(path, {}) == REFERENCES
    path = write(tmp_path / "numbers.jsonl", '{"id": 7, "text": "A", "speaker": 1}\n')
    found = read_reference(path)
    assert (found.words, found.speakers) == ({"7": ["A"]}, {"7": "1"})
    # A manifest with the reference in it: what was recognised comes first.
    row = {"audio_filepath": "u1", "text": "A C", "pred_text": "A B"}
    path = write(tmp_path / "nemo.jsonl", json.dumps(row) + "\n" + '{"id": "u2", "words": []}\n')
    assert read_hypotheses(path, {}) == REFERENCES


def test_ctm_is_in_order_of_time_and_leaves_out_silent_utterances(tmp_path: Path) -> None:
    text = ";; made by hand\nu1 1 0.50 0.2 B 0.9\nu1 1 0.10 0.3 A\n"
    assert read_hypotheses(write(tmp_path / "hyp.ctm", text), REFERENCES) == REFERENCES


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.ctm", "u1 1 0.5\n", r"a.ctm:1"),
        ("a.ctm", "u1 1 soon 0.1 A\n", r"a.ctm:1"),
        ("a.ctm", "u1 1 0 1 A\nu1 2 0 1 A\n", r"several channels"),
        ("a.ctm", "u1 1 0 1 <ALT_BEGIN>\n", r"alternatives"),
        ("a.ctm", "u1 1 nan 0.1 A\n", r"a.ctm:1"),
        ("a.jsonl", '{"id": "u", "text": null}\n', r"a.jsonl:1: the words of 'u' are neither"),
        ("a.jsonl", '{"id": "\\ud800", "text": ""}\n', r"a.jsonl:1: not a JSON object"),
        ("a.jsonl", "[" * 100_000, r"a.jsonl:1: not a JSON object"),
        ("a.jsonl", "u1 A B\n", r"a.jsonl:1: not a JSON object"),
        ("a.jsonl", "[1]\n", r"a.jsonl:1: not a JSON object"),
        ("a.jsonl", '{"text": "A"}\n', r"a.jsonl:1: none of the keys id"),
        ("a.jsonl", '{"id": "u", "text": ""}\n' * 2, r"a.jsonl:2: the utterance 'u'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    with pytest.raises(AsrKdError, match=message):
        read_hypotheses(write(tmp_path / file, text), {})


def test_missing_files_and_speakers_are_named(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match=r"hyp.txt is not there"):
        read_hypotheses(tmp_path / "hyp.txt", {})
    reference = write(tmp_path / "ref.txt", "u1 A\nu2 B\n")
    speakers = write(tmp_path / "utt2spk", "u1 ann\n")
    with pytest.raises(AsrKdError, match="1 utterances have no speaker, first u2"):
        read_reference(reference, speakers)
