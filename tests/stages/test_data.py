import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_kd import artifacts, cli
from asr_kd.config import Config, DataConfig, LmConfig, MiniConfig, PartsConfig
from asr_kd.corpus.kaldi import read_data_dir
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import read_manifest
from asr_kd.errors import AsrKdError
from asr_kd.stages import data

ARPA = "An explanation.\n\\data\\\nngram 1=4\n\n\\1-grams:\n-1 FOUR\n-1 FORTY\n-9 <s>\n-1 </s>\n\n\\end\\\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six training and two test speakers with two utterances each, as Kaldi data directories."""
    root = tmp_path / "corpus"
    root.mkdir()
    generator = np.random.default_rng(0)
    for part, speakers, text in (("train", "abcdef", "ONE TWO"), ("test", "xy", "ONE THREE")):
        tables: dict[str, list[str]] = {"text": [], "wav.scp": [], "utt2spk": []}
        for name in (f"{speaker}{place}" for speaker in speakers for place in range(2)):
            soundfile.write(root / f"{name}.wav", generator.uniform(-0.5, 0.5, 3200), 16000)
            tables["text"].append(f"{name} {text}")
            tables["wav.scp"].append(f"{name} {name}.wav")
            tables["utt2spk"].append(f"{name} {name[0]}")
        (root / part).mkdir()
        for file, lines in tables.items():
            (root / part / file).write_text("\n".join(lines) + "\n")
    return root


def config(corpus: Path, lms: dict[str, LmConfig] | None = None, **settings: Any) -> Config:
    return Config(
        recipe="test",
        work=str(corpus.parent / "exp"),
        workers=1,
        data=DataConfig(corpus="kaldi_dir", source=str(corpus), **settings),
        lms=lms or {"bigram": LmConfig(order=2)},
    )


def run(config: Config) -> Path:
    data.run(config, Path(config.work))
    return Path(config.work) / "data"


def test_manifests_lexicons_and_summary_are_written(corpus: Path, tmp_path: Path):
    (tmp_path / "text.txt").write_text("SEVEN   ONE\n")
    folder = run(config(corpus, lm_text=str(tmp_path / "text.txt")))
    parts = {part: read_manifest(folder / f"{part}.jsonl") for part in ("train", "dev", "test")}
    assert [len(utterances) for utterances in parts.values()] == [8, 4, 4]
    speakers = [{utterance.speaker for utterance in utterances} for utterances in parts.values()]
    assert sum(len(names) for names in speakers) == len(set.union(*speakers))
    assert {utterance.duration_seconds for utterance in parts["train"]} == {0.2}
    assert sorted(Lexicon.read(folder / "lexicon.txt").entries) == ["ONE", "SEVEN", "TWO"]
    assert sorted(Lexicon.read(folder / "lexicon_align.txt").entries) == ["ONE", "SEVEN", "THREE", "TWO"]
    assert (folder / "lm_text.txt").read_text() == "SEVEN ONE\n"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["parts"]["test"]["out_of_vocabulary"] == {"tokens": 4, "percent": 50.0, "words": ["THREE"]}
    assert summary["pronounced"] == {"from_cmudict": 4, "by_rule": []}
    artifacts.Artifact(folder).verify()


def test_a_second_run_finds_it_up_to_date_and_a_change_does_not(
    corpus: Path, capsys: pytest.CaptureFixture[str]
):
    folder = run(config(corpus))
    before = artifacts.Artifact(folder).digest
    run(config(corpus))
    assert "up to date" in capsys.readouterr().out
    soundfile.write(corpus / "x0.wav", np.random.default_rng(9).uniform(-0.5, 0.5, 3200), 16000)
    run(config(corpus))
    assert "up to date" not in capsys.readouterr().out
    assert artifacts.Artifact(folder).digest != before


def test_every_problem_is_refused_or_skipped_as_the_settings_say(corpus: Path):
    (corpus / "x0.wav").unlink()
    (corpus / "y1.wav").write_bytes(b"RIFF")
    text = (corpus / "train" / "text").read_text()
    (corpus / "train" / "text").write_text(text.replace("a0 ONE TWO", "a0"))
    names = {problem.utterance for problem in data.find_problems(config(corpus))[0]}
    assert names == {"x0", "y1", "a0"}
    for refused in (run, data.validate):
        with pytest.raises(AsrKdError, match=r"3 problems.*empty transcript"):
            refused(config(corpus))
    assert len((corpus.parent / "exp" / "data-problems.txt").read_text().splitlines()) == 3
    folder = run(config(corpus, invalid="skip"))
    assert [utterance.id for utterance in read_manifest(folder / "test.jsonl")] == ["x1", "y0"]
    assert len(json.loads((folder / "summary.json").read_text())["skipped"]) == 3


def test_utterances_too_short_for_features_or_transcript_are_named(
    corpus: Path, capsys: pytest.CaptureFixture[str]
):
    for name, samples in (("a0", 79), ("b0", 80), ("y1", 1500)):  # half a frame is 80 samples
        soundfile.write(corpus / f"{name}.wav", np.linspace(-0.5, 0.5, samples), 16000)
    with pytest.raises(AsrKdError, match=r"1 problems \(1 too short\):\n.* a0: too short: 0\.0049 s of "):
        data.validate(config(corpus))
    said = capsys.readouterr().out
    assert "2 too short for its transcript" in said
    # ONE has three phones, TWO two and THREE three, of three states each; y1 has 0.09 s.
    assert "b0: too short for its transcript: 1 frames, but its 2 words take 15 or more" in said
    assert "y1: too short for its transcript: 9 frames, but its 2 words take 18 or more" in said
    folder = run(config(corpus, invalid="skip"))
    kept = {utterance.id for part in data.PARTS for utterance in read_manifest(folder / f"{part}.jsonl")}
    assert "a0" not in kept and {"b0", "y1"} <= kept
    other = config(corpus, invalid="skip")
    other.features.frame_shift_milliseconds = 12.5
    assert "b0" not in {utterance.id for utterance in read_manifest(run(other) / "train.jsonl")}


def test_skipping_utterances_does_not_mend_a_shared_speaker(corpus: Path):
    table = (corpus / "test" / "utt2spk").read_text()
    (corpus / "test" / "utt2spk").write_text(table.replace(" x", " a"))
    with pytest.raises(AsrKdError, match=r"speaker a is in .* and"):
        run(config(corpus, invalid="skip"))
    with pytest.raises(AsrKdError) as refused:
        run(config(corpus))
    assert "invalid=skip" not in str(refused.value)


def test_missing_words_are_refused_on_request(corpus: Path, tmp_path: Path):
    (tmp_path / "lexicon.txt").write_text("ONE W AH1 N\nTWO T UW1\n")
    given = {"lexicon": str(tmp_path / "lexicon.txt")}
    assert Lexicon.read(run(config(corpus, **given)) / "lexicon.txt").entries["ONE"] == [("W", "AH", "N")]
    with pytest.raises(AsrKdError, match=r"test x0: missing word: no pronunciation for THREE"):
        run(config(corpus, missing_words="refuse", **given))
    (tmp_path / "lexicon.txt").write_text("ONE un\nTWO deux\n")
    with pytest.raises(AsrKdError, match=r"no pronunciation for THREE"):
        run(config(corpus, **given))
    run(config(corpus, missing_words="refuse"))  # cmudict has them all


def test_words_that_are_pronounced_are_listed_with_how(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "lexicon.txt").write_text("ONE W AH N\n")
    (tmp_path / "text.txt").write_text("ZXQY\n")
    given = {"lexicon": str(tmp_path / "lexicon.txt"), "lm_text": str(tmp_path / "text.txt")}
    data.validate(config(corpus, **given))
    said = capsys.readouterr().out
    assert "the corpus has 3 warnings (3 missing word)" in said and "the corpus is valid" in said
    lines = (corpus.parent / "exp" / "data-warnings.txt").read_text().splitlines()
    assert lines[0].startswith("missing word: ZXQY is not in the lexicon; letter-to-sound rules say ")
    assert lines[1:] == [
        "missing word: THREE is not in the lexicon; cmudict says TH R IY",
        "missing word: TWO is not in the lexicon; cmudict says T UW",
    ]
    run(config(corpus, **given))
    assert said.splitlines()[:4] == capsys.readouterr().out.splitlines()[:4]
    del given["lexicon"]  # then cmudict is the lexicon
    data.validate(config(corpus, **given))
    assert "1 warnings" in capsys.readouterr().out
    (tmp_path / "text.txt").write_text("1990\n")
    with pytest.raises(AsrKdError, match=r"1 missing word.*\n.*'1990'"):
        data.validate(config(corpus, **given))


def test_language_models_are_stored_and_bring_words(corpus: Path, tmp_path: Path):
    (tmp_path / "given.lm").write_text(ARPA)
    (tmp_path / "lexicon.txt").write_text("ONE W\nTWO T\nTHREE R\nFOUR F\n")
    lms = {"given": LmConfig(arpa=str(tmp_path / "given.lm"))}
    folder = run(config(corpus, lms, lexicon=str(tmp_path / "lexicon.txt")))
    assert (folder / "given.arpa").read_text().startswith("\\data\\\n")
    assert json.loads((folder / "summary.json").read_text())["arpa_words_without_pronunciation"] == 1
    with pytest.raises(AsrKdError, match=r"lms\.ug\.arpa=ug: neither a file nor .*\(none\)"):
        run(config(corpus, {"ug": LmConfig(arpa="ug")}))


def test_a_dev_part_may_be_named(corpus: Path):
    named = config(corpus)
    named.data.parts.dev = "test"
    with pytest.raises(AsrKdError, match="duplicate id"):
        run(named)


def test_an_empty_dev_part_is_not_replaced(corpus: Path):
    (corpus / "none").mkdir()
    for file in ("text", "wav.scp", "utt2spk"):
        (corpus / "none" / file).touch()
    named = config(corpus, parts=PartsConfig(dev="none"))
    with pytest.raises(AsrKdError, match="empty part: dev has no utterances"):
        run(named)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": PartsConfig(dev="test"), "dev_speakers": 2}, r"data\.dev_speakers=2 has no effect"),
        ({"parts": PartsConfig(dev=" ")}, r"data\.parts\.dev=' ' names no part; give null"),
        ({"parts": PartsConfig(train="+")}, r"data\.parts\.train='\+' names no part"),
        ({"sample_rate": 0}, r"data\.sample_rate=0"),
        ({"dev_speakers": -1}, r"data\.dev_speakers=-1"),
        ({"mini": MiniConfig(noise_decibels=0.0)}, r"data\.mini\.noise_decibels has no effect"),
    ],
)
def test_settings_without_sense_or_effect_are_refused(corpus: Path, settings: dict[str, Any], message: str):
    with pytest.raises(AsrKdError, match=message):
        run(config(corpus, **settings))


@pytest.mark.parametrize(("setting", "message"), [("lexicon", "no words"), ("lm_text", "no sentences")])
def test_empty_files_are_refused(corpus: Path, tmp_path: Path, setting: str, message: str):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(AsrKdError, match=rf"data\.{setting}=.*empty\.txt holds {message}"):
        run(config(corpus, **{setting: str(tmp_path / "empty.txt")}))


@pytest.mark.parametrize(
    ("lexicon", "message"),
    [
        ("ONE W AH N\n#0 AH\n<s> AH\n", "^#0, <s>: no words"),
        ("ONE W <eps> N\n", "^<eps>: no words or phones"),
        ("ONE 1.0 W AH N\nTWO 0.5 T UW\n", r"begins with numbers \(0\.5\)"),
    ],
)
def test_lexicons_that_would_mislead_are_refused(corpus: Path, tmp_path: Path, lexicon: str, message: str):
    (tmp_path / "lexicon.txt").write_text(lexicon)
    with pytest.raises(AsrKdError, match=message):
        run(config(corpus, lexicon=str(tmp_path / "lexicon.txt")))


def test_what_is_no_language_model_is_no_missing_word(corpus: Path, tmp_path: Path):
    (tmp_path / "given.lm").write_text("ONE TWO\n")
    with pytest.raises(AsrKdError, match=r"^.*given\.lm has no line"):
        data.validate(config(corpus, {"given": LmConfig(arpa=str(tmp_path / "given.lm"))}))


def test_spelling_in_another_case_is_pointed_out(corpus: Path, tmp_path: Path):
    (tmp_path / "lexicon.txt").write_text("one W AH N\nTWO T UW\nTHREE TH R IY\n")
    _, warnings = data.find_problems(config(corpus, lexicon=str(tmp_path / "lexicon.txt")))
    assert [warning.message for warning in warnings] == [
        "ONE (the lexicon has one) is not in the lexicon; cmudict says W AH N"
    ]


@pytest.mark.parametrize("setting", ["invalid", "missing_words"])
def test_unknown_choices_are_refused(corpus: Path, setting: str):
    with pytest.raises(AsrKdError, match=rf"data\.{setting}=ignore: choose one of .*refuse"):
        run(config(corpus, **{setting: "ignore"}))


def test_parts_are_exported_as_kaldi_data_directories(corpus: Path, tmp_path: Path):
    settings = ["recipe=kaldi_dir", f"work={tmp_path / 'exp'}", f"data.source={corpus}", "workers=1"]
    assert cli.main(["export-data", *settings]) == 1  # to= is missing
    assert cli.main(["export-data", *settings, f"to={tmp_path / 'kaldi'}"]) == 1  # so is stage data
    folder = run(cli.load(settings))
    assert cli.main(["export-data", *settings, f"to={tmp_path / 'kaldi'}"]) == 0
    for part in data.PARTS:
        assert {file.name for file in (tmp_path / "kaldi" / part).iterdir()} == {
            "text", "utt2spk", "spk2utt", "wav.scp",
        }  # fmt: skip
        written = read_data_dir(tmp_path / "kaldi" / part)
        manifest = read_manifest(folder / f"{part}.jsonl")
        assert written == [replace(utterance, duration_seconds=None) for utterance in manifest]


def test_a_real_corpus_is_valid(corpora: Path, tmp_path: Path):
    settings = DataConfig(corpus="an4", source=str(corpora / "an4"), downloads=str(tmp_path))
    lms = {"ug": LmConfig(arpa="ug")}
    problems, warnings = data.find_problems(Config(recipe="an4", work=str(tmp_path), data=settings, lms=lms))
    assert not problems and not warnings
