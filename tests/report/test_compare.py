import json
from pathlib import Path

import numpy as np
import pytest

from asr_kd import cli
from asr_kd.errors import AsrKdError
from asr_kd.report import write as report
from asr_kd.report.compare import compare_systems
from asr_kd.scoring.normalise import Normalisation
from tests.report.decodings import write_decodings
from tests.work_folder import make_work

WRONG = {"gmm": 7, "member-0": 5, "member-1": 3, "ensemble": 2, "student": 4}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A reference of 60 utterances, and three systems: the second is better, the third much worse."""
    random = np.random.default_rng(0)
    reference = {f"s{n % 3}-{n:02d}": random.choice(["A", "B", "C"], 8).tolist() for n in range(60)}

    def write(name: str, share: float) -> None:
        lines = (
            " ".join([key, *(word if random.random() > share else "X" for word in words)])
            for key, words in reference.items()
        )
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))

    for name, share in {"ref.txt": 0.0, "base.txt": 0.2, "new.txt": 0.17, "bad.txt": 0.4}.items():
        write(name, share)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:2]}\n" for key in reference))
    return tmp_path


def test_first_system_is_the_baseline(files: Path) -> None:
    systems = [str(files / name) for name in ("base.txt", "new.txt", "bad.txt")]
    content = compare_systems(systems, files / "ref.txt", files / "utt2spk").content
    assert content["baseline"] == "base"
    assert [system["name"] for system in content["systems"]] == ["base", "new", "bad"]
    new, bad = content["comparisons"]
    assert (new["system"], new["baseline"], new["distinguishable"]) == ("new", "base", False)
    assert (bad["system"], bad["distinguishable"]) == ("bad", True)
    assert bad["p_holm"] == pytest.approx(2 * bad["p"])
    assert bad["mapsswe"]["p_holm"] < 0.001
    assert content["speakers"] == 3
    assert "Only 3 speakers" in content["cautions"][0]
    wers = [system["wer"] for system in content["systems"]]
    assert bad["difference"]["value"] == pytest.approx(wers[2] - wers[0])


def test_without_speakers_it_says_so(files: Path) -> None:
    content = compare_systems([str(files / "base.txt"), str(files / "new.txt")], files / "ref.txt").content
    assert content["speakers"] is None
    assert content["comparisons"][0]["by_speaker"] is None
    assert "Speakers are not known" in content["cautions"][0]


def test_normalisation_is_applied_to_all(files: Path) -> None:
    lower = files / "lower.txt"
    lower.write_text((files / "base.txt").read_text().replace(" A", " a,"))
    systems = [str(files / "base.txt"), str(lower)]
    plain = compare_systems(systems, files / "ref.txt").content["systems"]
    assert plain[1]["wer"] > plain[0]["wer"]
    found = compare_systems(systems, files / "ref.txt", normalisation=Normalisation(True, True)).content
    assert found["systems"][1]["wer"] == found["systems"][0]["wer"] == plain[0]["wer"]
    assert "case folded" in found["normalisation"]


def test_vocabulary_sets_unknown_words_apart(files: Path) -> None:
    (files / "words.txt").write_text("A 1\nB 2\n")
    systems = [str(files / "base.txt"), str(files / "new.txt")]
    content = compare_systems(systems, files / "ref.txt", vocabulary=files / "words.txt").content
    known = content["systems"][0]["out_of_vocabulary"]
    assert known["tokens"] + known["known_words"] == content["words"] == 480
    assert 0 < known["known_errors"] < content["systems"][0]["errors"]


@pytest.mark.parametrize("form", ["markdown", "json", "html"])
def test_a_vocabulary_without_a_word_of_the_reference(
    files: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "words.txt").write_text("Z 1\n")
    systems = [str(files / name) for name in ("base.txt", "new.txt")]
    arguments = [f"reference={files / 'ref.txt'}", f"vocabulary={files / 'words.txt'}", f"format={form}"]
    assert cli.main(["compare", *systems, *arguments]) == 0
    printed = capsys.readouterr().out
    if form == "json":
        assert json.loads(printed)["systems"][0]["out_of_vocabulary"]["known_wer"] is None
    elif form == "markdown":
        assert "| - | baseline |" in printed


def test_reports_bring_their_reference(tmp_path: Path) -> None:
    config = make_work(tmp_path)
    write_decodings(config, tmp_path, WRONG)
    report.write(config, tmp_path)
    folder = tmp_path / "report"
    content = compare_systems([f"{folder}:ensemble", f"{folder / 'report.json'}:student"]).content
    assert [(system["name"], system["errors"]) for system in content["systems"]] == [
        ("ensemble", 2),
        ("student", 4),
    ]
    everything = compare_systems([str(folder)]).content
    assert [system["name"] for system in everything["systems"]] == list(WRONG)
    mixed = compare_systems([f"{folder}:gmm", f"mine={tmp_path / 'decode/bigram/gmm/test.txt'}"]).content
    assert mixed["comparisons"][0]["system"] == "mine"
    assert mixed["comparisons"][0]["difference"]["value"] == 0
    with pytest.raises(AsrKdError, match="no system 'nobody'; there are gmm"):
        compare_systems([f"{folder}:nobody"])


def test_reports_of_a_sweep_are_found_by_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "temperature=1,seed=0"
    config = make_work(work)
    write_decodings(config, work, WRONG)
    report.write(config, work)
    for system in (str(work / "report"), f"{work / 'report'}:ensemble"):
        arguments = ["compare", system, f"own={work / 'report'}:student", "format=json"]
        assert cli.main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["systems"][-1]["name"] == "own"


def test_reports_that_do_not_agree_on_what_was_said_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        config = make_work(tmp_path / name)
        write_decodings(config, tmp_path / name, WRONG)
        report.write(config, tmp_path / name)
    file = tmp_path / "b/report/utterances.jsonl"
    first, *others = [json.loads(line) for line in file.read_text().splitlines()]
    first["text"] += " MORE"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in [first, *others]))
    systems = [f"{tmp_path / name / 'report'}:student" for name in ("a", "b")]
    with pytest.raises(AsrKdError, match=f"b/report.*utterance {first['id']}.*reference=FILE"):
        compare_systems(systems)
    assert compare_systems(systems, reference=tmp_path / "a/report/utterances.jsonl").content


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "u", "text": "A"}', '{"id": "u", "text": "A", "hypotheses": {"gmm": null}}']
)
def test_a_damaged_report_is_named(tmp_path: Path, line: str) -> None:
    good = json.dumps({"id": "v", "text": "A", "hypotheses": {"gmm": "A", "student": "B"}})
    (tmp_path / "utterances.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(AsrKdError, match=r"utterances\.jsonl:2: "):
        compare_systems([str(tmp_path)])


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_one_utterance_is_compared_without_intervals(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"ref": "u A B C", "base": "u A B", "new": "u A"}.items():
        (tmp_path / name).write_text(f"{text}\n")
    systems = [str(tmp_path / name) for name in ("base", "new")]
    content = compare_systems(systems, tmp_path / "ref").content
    assert [(system["errors"], system["interval"]) for system in content["systems"]] == [(1, None), (2, None)]
    assert content["comparisons"] == []
    assert cli.main(["compare", *systems, f"reference={tmp_path / 'ref'}", f"format={form}"]) == 0
    assert "one utterance" in capsys.readouterr().out


def test_errors_say_what_to_do(files: Path) -> None:
    base = str(files / "base.txt")
    with pytest.raises(AsrKdError, match="reference=FILE"):
        compare_systems([base, base])
    with pytest.raises(AsrKdError, match="two systems or more"):
        compare_systems([base], files / "ref.txt")
    with pytest.raises(AsrKdError, match="twice"):
        compare_systems([base, base], files / "ref.txt")
    (files / "short.txt").write_text("s0-00 A\n")
    with pytest.raises(AsrKdError, match="short: 59 utterances have no reference or no hypothesis"):
        compare_systems([base, str(files / "short.txt")], files / "ref.txt")


@pytest.mark.parametrize("form", ["markdown", "json", "html"])
def test_command_line(files: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    systems = [str(files / "base.txt"), f"mine={files / 'new.txt'}"]
    arguments = ["compare", *systems, f"reference={files / 'ref.txt'}", f"format={form}"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert cli.main([*arguments, f"to={files / 'out'}"]) == 0
    assert (files / "out").read_text() == printed
    if form == "json":
        assert json.loads(printed)["comparisons"][0]["system"] == "mine"
    else:
        assert "mine" in printed and "not distinguishable" in printed


@pytest.mark.parametrize("to", [".", "missing/out.md"])
def test_output_that_is_no_file_is_refused(files: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    systems = [str(files / "base.txt"), str(files / "new.txt")]
    assert cli.main(["compare", *systems, f"reference={files / 'ref.txt'}", f"to={files / to}"]) == 1
    assert "give the name of a file in a folder that exists" in capsys.readouterr().err


def test_unknown_format_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(files / "base.txt"), "format=pdf"]) == 1
    assert "format=markdown" in capsys.readouterr().err
