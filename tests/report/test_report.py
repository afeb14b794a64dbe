import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from asr_kd import artifacts
from asr_kd.config import Config, TeacherConfig, ViewConfig
from asr_kd.config.schema import PruneConfig, QuantiseConfig
from asr_kd.config.stages import stage_settings
from asr_kd.errors import AsrKdError
from asr_kd.report import breakdown, markdown, provenance, rates, write
from asr_kd.report.results import load_results
from asr_kd.significance import comparison
from asr_kd.specialists.sets import SpecialistSets
from tests.report.decodings import write_decodings
from tests.work_folder import make_model, make_work

# Of the eight utterances of test, how many lose a word.
WRONG = {"gmm": 7, "member-0": 5, "member-1": 3, "ensemble": 2, "student": 4}

MEASURED_ON = {
    "processor": "Some CPU",
    "machine": "x86_64",
    "threads": 1,
    "passes": 5,
    "utterances": 8,
    "audio_seconds": 12.3,
}


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[tuple[Config, Path]]:
    config = make_work(tmp_path, lms=("bigram", "unigram"))
    write_decodings(config, tmp_path, WRONG)
    yield config, tmp_path


def written(config: Config, work: Path) -> dict[str, Any]:
    write.write(config, work)
    content: dict[str, Any] = json.loads((work / "report" / "report.json").read_text())
    schema = json.loads(files("asr_kd.report").joinpath("schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(content)
    return content


def written_with(config: Config, work: Path, stage: str, wrong: dict[str, int]) -> dict[str, Any]:
    """The report with further systems of a stage, of which so many utterances lose a word."""
    for name in wrong:
        make_model(work / stage / name, seed=6)
    write_decodings(config, work, WRONG | wrong)
    return written(config, work)


def by_name(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {system["name"]: system for system in content["systems"]}


def write_bench(work: Path, decoding: str, system: str = "student") -> None:
    rtf = {
        phase: {"median": 0.01, "low": 0.009, "high": 0.02}
        for phase in ("features", "acoustic", "search", "total")
    }
    alike = ["member-1"] if system == "member-0" else []
    row = {"system": system, "decoding": decoding, "rtf": rtf, "same_architecture": alike}
    with artifacts.create(work / "bench", {"kind": "bench", "decoding": decoding}) as folder:
        (folder / "bench.json").write_text(json.dumps({**MEASURED_ON, "lm": "bigram", "systems": [row]}))


def test_schema_is_itself_valid() -> None:
    schema = json.loads(files("asr_kd.report").joinpath("schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)


def test_systems_and_their_errors(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    assert content["recipe"] == "tiny"
    assert [system["name"] for system in content["systems"]] == list(WRONG)
    assert [system["kind"] for system in content["systems"]] == [
        "gmm",
        "member",
        "member",
        "ensemble",
        "student",
    ]
    for name, system in by_name(content).items():
        test = system["metrics"]["test"]
        assert (test["errors"], test["deletions"], test["substitutions"]) == (WRONG[name], WRONG[name], 0)
        assert test["wer"] == pytest.approx(WRONG[name] / test["words"])
        assert test["interval"]["low"] <= test["wer"] <= test["interval"]["high"]
        assert test["interval"]["by"] == "utterance"


def test_mean_single_and_gap_closed(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    mean = content["mean_single"]["metrics"]["test"]
    assert content["mean_single"]["members"] == ["member-0", "member-1"]
    assert mean["errors"] == 4.0
    assert mean["frame_accuracy"] == pytest.approx(0.55)
    # Singles 0.55 on average, ensemble 0.65, student 0.625.
    gap = content["gap_closed"]["student"]
    assert (gap["frame_accuracy"], gap["cross_entropy"]) == pytest.approx((0.75, 0.75))
    assert gap["intervals"]["frame_accuracy"]["low"] <= 0.75 <= gap["intervals"]["frame_accuracy"]["high"]


def test_comparisons_are_paired_with_the_mean_single(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    ensemble, student = content["comparisons"]
    assert (ensemble["system"], student["system"]) == ("ensemble", "student")
    assert (ensemble["errors"], ensemble["baseline_errors"]) == (2, 4.0)
    assert ensemble["difference"]["value"] == pytest.approx(-2 / ensemble["words"])
    # Against the members' sums one utterance differs by -2, two by -1: 2 of 8 sign patterns are as extreme.
    assert ensemble["p"] == pytest.approx(2 / 8)
    # One utterance by +1, one by -1.
    assert student["difference"]["value"] == 0.0
    assert student["p"] == 1.0


def test_intervals_by_either_unit_are_shown(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    test = by_name(content)["student"]["metrics"]["test"]
    (pair,) = content["pairs"]
    text = (recipe[1] / "report" / "report.md").read_text()
    page = (recipe[1] / "report" / "report.html").read_text()
    assert test["by_utterance"] != test["by_speaker"] and pair["by_utterance"] != pair["by_speaker"]
    for unit in ("by_utterance", "by_speaker"):
        for interval in (test[unit], pair[unit]):
            low, high = (f"{100 * interval[end]:.2f}" for end in ("low", "high"))
            assert any(low in line and high in line for line in text.splitlines() if "student" in line)
            assert low in page and high in page
    assert "Speakers of test and dev are few" in text


def test_words_are_not_normalised_and_the_report_says_so(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    path = work / "decode" / "bigram" / "student" / "test.txt"
    lines = path.read_text().splitlines()
    name, *words = lines[-1].split()  # one without an error
    path.write_text("\n".join([*lines[:-1], " ".join([name, *map(str.lower, words)])]) + "\n")
    errors = load_results(config, work).of_kind("student")[0].errors("test")
    assert errors.sum() == WRONG["student"] + len(words)
    assert "case, punctuation and Unicode form count" in written(config, work)["normalisation"]


def test_did_we_lose_anything(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    assert content["answer"][0].startswith("Words: no loss that ")
    for page in ("report.md", "report.html"):
        text = (recipe[1] / "report" / page).read_text()
        assert all(sentence.split(",")[0].split(";")[0] in text for sentence in content["answer"])


def test_compressed_networks_are_compared_with_the_ensemble(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.compress.int8 = {"small": QuantiseConfig()}
    before = written_with(config, work, "compress", {"small": 7})
    (entry,) = before["compressed"]
    assert (entry["system"], entry["baseline"], entry["errors"], entry["baseline_errors"]) == (
        "small",
        "ensemble",
        7,
        2,
    )
    assert entry["p_holm"] == entry["p"] == pytest.approx(2 / 2**5)
    # A family of its own: what is said of students stays.
    config.compress.int8 = {}
    after = written(config, work)
    assert (after["pairs"], after["comparisons"]) == (before["pairs"], before["comparisons"])
    assert after["compressed"] == []


def test_compressed_networks_are_compared_with_what_they_were_made_of_and_with_labels_alone(
    recipe: tuple[Config, Path],
) -> None:
    config, work = recipe
    config.compress.pruned = {
        "soft": PruneConfig(),
        "hard": PruneConfig(targets="hard", rounds=7),
        "thin": PruneConfig(method="low_rank"),
        "less": PruneConfig(keep=0.5, targets="hard"),
    }
    config.compress.int8 = {"small": QuantiseConfig(network="thin")}
    wrong = {"soft": 3, "hard": 6, "thin": 5, "less": 4, "small": 7}
    content = written_with(config, work, "compress", wrong)
    sides = {
        key: [
            (entry["system"], entry["baseline"], entry["errors"], entry["baseline_errors"])
            for entry in content[key]
        ]
        for key in ("against_source", "against_controls")
    }
    of_student = [(name, "student", wrong[name], WRONG["student"]) for name in wrong if name != "small"]
    assert sides["against_source"] == [*of_student, ("small", "thin", 7, 5)]
    # Pruned in the same way, by as much: how often is what it takes to train them.
    assert sides["against_controls"] == [("soft", "hard", 3, 6)]
    assert any(line.startswith("The WER of soft") for line in content["headline"])
    for page in ("report.md", "report.html"):
        text = (work / "report" / page).read_text()
        assert "Compressed networks against what they were made of" in text
    assert "| small | thin | " in (work / "report" / "report.md").read_text()


def test_the_interval_of_a_system_is_its_own(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    before = written(config, work)
    config.compress.int8 = {"small": QuantiseConfig()}
    after = written_with(config, work, "compress", {"small": 6})
    # Whoever else was decoded.
    for name, system in by_name(before).items():
        assert by_name(after)[name]["metrics"] == system["metrics"]
    assert after["mean_single"] == before["mean_single"]
    test = by_name(after)["student"]["metrics"]["test"]
    assert test["interval"] == test["by_utterance"] | {"by": "utterance"}
    assert test["by_speaker"]["low"] <= test["wer"] <= test["by_speaker"]["high"]


def test_networks_are_compared_with_the_gmm(recipe: tuple[Config, Path]) -> None:
    content = written(*recipe)
    mean, *others = content["against_gmm"]
    assert [entry["system"] for entry in others] == ["member-0", "member-1", "ensemble", "student"]
    assert (mean["system"], mean["baseline"], mean["errors"], mean["baseline_errors"]) == (
        "mean_single",
        "gmm",
        4.0,
        7,
    )
    assert mean["difference"]["value"] == pytest.approx(-3 / mean["words"])
    assert "mapsswe" not in mean
    # A family of its own: five tests.
    smallest = min(content["against_gmm"], key=lambda entry: entry["p"])
    assert smallest["p_holm"] == pytest.approx(5 * smallest["p"])
    assert content["headline"][-2].startswith("The WER of the mean single network is ")
    assert "## Networks against the GMM" in (recipe[1] / "report" / "report.md").read_text()


def test_specialists_are_compared_with_their_generalist(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.train.specialists.count, config.train.specialists.generalist = 1, "member-1"
    with artifacts.create(work / "train" / "specialist-sets", {"kind": "specialist sets"}) as folder:
        SpecialistSets.of([[0, 1]], 3).write(folder)
    make_model(work / "train" / "specialist-0", seed=7)
    write_decodings(config, work, WRONG | {"specialists": 4})
    content = written(config, work)
    special, student = content["against_generalist"]
    assert (special["system"], student["system"]) == ("specialists", "student")
    assert special["baseline"] == "member-1"
    assert (special["errors"], special["baseline_errors"]) == (4, WRONG["member-1"])
    assert [entry["system"] for entry in content["pairs"]] == ["specialists", "student"]
    for page in ("report.md", "report.html"):
        assert "Against the generalist, member-1" in (work / "report" / page).read_text()


def test_students_are_compared_with_controls_of_the_same_speech(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    settings = config.distill.students["student"]
    others = {
        "student-1": replace(settings, seed=1),
        "student-2": replace(settings, seed=2),
        "control": replace(settings, soft_weight=0.0, hard_weight=1.0),
        # `unlabelled` teaches a control nothing: it sees the same.
        "control-1": replace(settings, soft_weight=0.0, hard_weight=1.0, seed=1),
        "tenth": replace(
            settings, soft_weight=0.0, hard_weight=1.0, transfer=replace(settings.transfer, fraction=0.1)
        ),
        "told": replace(settings, transfer=replace(settings.transfer, unlabelled="always")),
    }
    config.distill.students |= others
    wrong = {"student-1": 1, "student-2": 2, "control": 6, "control-1": 5, "tenth": 7, "told": 2}
    content = written_with(config, work, "distill", wrong)
    found = {
        (entry["system"], entry["baseline"]): (entry["errors"], entry["baseline_errors"], entry["p_holm"])
        for entry in content["against_controls"]
    }
    smallest = min(entry["p"] for entry in content["against_controls"])
    assert found == {
        ("student (3 seeds)", "control (2 seeds)"): (pytest.approx(7 / 3), 5.5, pytest.approx(2 * smallest)),
        ("told", "control (2 seeds)"): (2, 5.5, pytest.approx(2 * smallest)),
    }
    text = (work / "report" / "report.md").read_text()
    assert "| student (3 seeds) | control (2 seeds) | " in text
    assert " | 2.3 : 5.5 | " in text and " | 2 : 5.5 | " in text
    page = (work / "report" / "report.html").read_text()
    assert (
        "the labels of the same transcribed speech alone" in page
        and "student (3 seeds) against control (2 seeds)" in page
    )
    assert ">2.3 : 5.5<" in page and ">2 : 5.5<" in page


def test_errors_of_every_kind_by_speaker_and_utterance(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    content = written(config, work)
    for row in content["speakers"]:
        assert row["deletions"] == row["errors"]
        assert set(row["substitutions"].values()) == set(row["insertions"].values()) == {0}
    assert sum(row["errors"]["gmm"] for row in content["speakers"]) == WRONG["gmm"]
    lines = [json.loads(line) for line in (work / "report" / "utterances.jsonl").read_text().splitlines()]
    errors = [line["errors"]["gmm"] for line in lines]
    assert errors[0] == {"substitutions": 0, "deletions": 1, "insertions": 0}
    assert sum(error["deletions"] for error in errors) == WRONG["gmm"]


def test_confused_senones_by_phone(recipe: tuple[Config, Path]) -> None:
    results = load_results(*recipe)
    found = breakdown.confused_phones(results, ["AH", "EH", "AH"])
    assert list(found) == ["ensemble", "student"]
    assert found["student"]["pairs"] == [{"label": "AH", "found": "EH", "frames": 10}]
    frames = sum(100 + 10 * place for place in range(8))
    assert found["student"]["share"] == pytest.approx(10 / (frames * (1 - 0.625)))
    assert breakdown.confused_phones(results, ()) == {}


def test_a_part_of_one_utterance_has_a_report_without_intervals(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    manifest = work / "data" / "test.jsonl"
    first = manifest.read_text().splitlines(keepends=True)[0]
    manifest.write_text(first)
    write_decodings(config, work, WRONG)
    content = written(config, work)
    assert content["comparisons"] == content["pairs"] == []
    test, dev = (by_name(content)["student"]["metrics"][part] for part in ("test", "dev"))
    assert test["errors"] == 1 and test["interval"] is None and dev["interval"] is not None
    assert any("one utterance" in caution for caution in content["cautions"])
    assert "one utterance has no interval" in (work / "report" / "report.html").read_text()


def test_sweeps_over_a_temperature_of_todays_members_are_shown(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    row = {"swept": {"x.temperature": "2"}, "system": "student", "kind": "student", "wer": None}
    row |= {metric: {"value": 0.5, "spread": None} for metric in ("test accuracy", "test cross_entropy")}
    folder = work / "sweeps" / "T"
    for number in range(2):
        shutil.copytree(work / "train" / f"member-{number}", folder / "T=2" / "train" / f"member-{number}")
    (folder / "sweep.json").write_text(json.dumps([row]))
    assert written(config, work)["temperature_sweeps"] == {"T": [row]}
    assert "Temperature: sweep T" in (work / "report" / "report.html").read_text()
    make_model(work / "train" / "member-1", seed=17)
    assert written(config, work)["temperature_sweeps"] == {}


def test_the_headline_is_the_chosen_language_model(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    assert written(config, work)["lm"] == "bigram"
    config.decode.lm = "unigram"
    content = written(config, work)
    assert content["lm"] == "unigram"
    assert set(content["lms"]) == {"bigram", "unigram"}
    assert set(content["lms"]["bigram"]) == {*WRONG, "mean_single"}
    config.decode.lm = "trigram"
    with pytest.raises(AsrKdError, match=r"decode.lm=trigram"):
        write.write(config, work)


def test_the_page_has_what_markdown_says_of_other_language_models(recipe: tuple[Config, Path]) -> None:
    rates = written(*recipe)["lms"]["unigram"]["mean_single"]["test"]
    page = (recipe[1] / "report" / "report.html").read_text()
    table = page[page.index("Other language models") :].partition("</table>")[0]
    (mean,) = re.findall(r'<tr class="mean">.*?</tr>', table)
    assert f'<td data-value="{rates["errors"]}">{rates["errors"]:g}</td>' in mean


def test_speed_is_shown_only_beside_the_decoding_it_belongs_to(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    assert "rtf" not in by_name(written(config, work))["student"]
    write_bench(work, artifacts.Artifact(work / "decode" / "bigram" / "student").digest)
    content = written(config, work)
    systems = by_name(content)
    assert systems["student"]["rtf"]["total"] == 0.01
    assert content["bench"] == MEASURED_ON
    for name in ("report.md", "report.html"):
        text = (work / "report" / name).read_text()
        assert "on Some CPU (x86_64), 1 thread(s): 8 utterances of test, 12 s" in text
    assert "rtf" not in systems["ensemble"]
    assert (work / "report" / "speed.png").is_file()
    write_bench(work, "of another decoding")
    content = written(config, work)
    assert "rtf" not in by_name(content)["student"]
    assert content["bench"] is None


def test_members_that_were_not_measured_are_those_of_a_measured_ones_architecture(
    recipe: tuple[Config, Path],
) -> None:
    config, work = recipe
    write_bench(work, artifacts.Artifact(work / "decode" / "bigram" / "member-0").digest, "member-0")
    systems = by_name(written(config, work))
    assert systems["member-1"]["rtf_of"] == "member-0"
    assert not any("rtf_of" in systems[name] for name in ("gmm", "member-0", "ensemble", "student"))
    for name in ("report.md", "report.html"):
        text = (work / "report" / name).read_text()
        assert "Not measured: member-1, of the same architecture as member-0." in text
    assert all(f"<th>{phase}</th>" in text for phase in ("features", "acoustic", "search", "total"))


def test_intervals_by_speaker_where_there_are_enough(
    recipe: tuple[Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "FEW_SPEAKERS", 2)
    assert by_name(written(*recipe))["student"]["metrics"]["test"]["interval"]["by"] == "speaker"


def test_the_same_bytes_twice_except_for_when(recipe: tuple[Config, Path]) -> None:
    first, second = written(*recipe), written(*recipe)
    for content in (first, second):
        del content["provenance"]["written"]
    assert first == second


def test_provenance(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    train, decode = (stage_settings(config, stage) for stage in ("train", "decode"))
    lines = [
        {"stage": "decode", "seconds": 9, "settings": decode},
        {"stage": "train", "seconds": 60.0, "settings": train},
        {"stage": "train", "seconds": 0.5, "settings": train},  # up to date
        {"stage": "train", "seconds": 900.0, "settings": train | {"seed": 1}},
        {"stage": "decode", "seconds": 8, "settings": decode},  # again, for what it reads had changed
        # Of earlier versions of the program.
        {"stage": "decode", "seconds": 70.0},
        {"stage": "polish", "seconds": 80.0, "settings": {}},
    ]
    stamped = [json.dumps(line | {"finished": "2026-01-01T00:00:00+0000"}) for line in lines]
    damaged = stamped[-1][:-20], stamped[0].replace("seconds", "sdconds"), "\udcff"
    text = "".join(f"{line}\n" for line in (*damaged, *stamped))
    (work / "stages.jsonl").write_text(text, encoding="utf-8", errors="surrogateescape")
    found = written(config, work)["provenance"]
    assert found["stage_seconds"] == {"train": 60.0, "decode": 9}
    assert list(found["stage_seconds"]) == ["train", "decode"]
    said = "train 60 s, decode 9 s; together 1.1 minutes; no time with today&#39;s settings: data, features"
    assert said in (work / "report" / "report.html").read_text()
    assert said.replace("&#39;", "'") in (work / "report" / "report.md").read_text()
    assert found["seconds"] == 69.0
    assert found["settings"]["data"]["corpus"] == "tiny"
    assert {"data", "align/labels", "train/member-0", "decode/bigram/gmm"} <= set(found["fingerprints"])
    assert found["versions"]["numpy"]


def test_code_is_told_apart_though_its_version_stays(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "one.py").write_text("a = 1\n")
    before = provenance.code_digest(tmp_path)
    (tmp_path / "room" / "one.pyc").write_text("no source")
    assert provenance.code_digest(tmp_path) == before
    (tmp_path / "room" / "one.py").write_text("a = 2\n")
    changed = provenance.code_digest(tmp_path)
    (tmp_path / "room" / "one.py").rename(tmp_path / "one.py")
    assert len({before, changed, provenance.code_digest(tmp_path)}) == 3


def test_the_command_is_one_that_can_be_typed() -> None:
    module = ["/somewhere/asr_kd/__main__.py", "run", "recipe=an4", "bench.systems=[student, small]"]
    assert provenance.command(module) == "python -m asr_kd run recipe=an4 'bench.systems=[student, small]'"
    assert provenance.command(["/somewhere/bin/asr-kd", "run"]) == "asr-kd run"


def test_fingerprints_of_learnt_weights(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.distill.average = "log-linear"
    with artifacts.create(work / "distill" / "weights", {"kind": "weights"}) as folder:
        (folder / "weights.json").write_text("[0.4, 0.6]")
    assert "distill/weights" in written(config, work)["provenance"]["fingerprints"]
    config.distill.average = "arithmetic"
    assert "distill/weights" not in written(config, work)["provenance"]["fingerprints"]


def test_what_an_earlier_recipe_left_behind_is_no_part_of_the_report(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    make_model(work / "train" / "member-2", seed=3)
    make_model(work / "distill" / "old-student", seed=4)
    write_bench(work, "of another decoding")
    found = written(config, work)["provenance"]["fingerprints"]
    assert {"train/member-1", "distill/student"} <= set(found)
    assert not {"train/member-2", "distill/old-student", "bench"} & set(found)


def test_fingerprints_of_teachers_made_elsewhere_and_of_linked_features(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config, elsewhere = make_work(tmp_path), tmp_path_factory.mktemp("elsewhere")
    make_model(elsewhere / "large", seed=5)
    config.distill.teachers["large"] = TeacherConfig(str(elsewhere / "large"))
    config.views = {"slow": ViewConfig(speed=0.9), "unused": ViewConfig(speed=1.1)}
    config.distill.students["student"].transfer.views = ["slow"]
    # As in a run of a sweep.
    (tmp_path / "features").rename(elsewhere / "features")
    (tmp_path / "features").mkdir()
    for name in ("view-slow", "view-unused"):
        shutil.copytree(elsewhere / "features" / "train", elsewhere / "features" / name)
    for folder in (elsewhere / "features").iterdir():
        (tmp_path / "features" / folder.name).symlink_to(folder, target_is_directory=True)
    write_decodings(config, tmp_path, WRONG)
    found = written(config, tmp_path)["provenance"]["fingerprints"]
    assert found[str(elsewhere / "large")] == artifacts.Artifact(elsewhere / "large").digest
    features = {name.removeprefix("features/") for name in found if name.startswith("features/")}
    assert features == {"train", "dev", "test", "view-slow"}


def test_markdown_and_pictures(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    write.write(config, work)
    text = (work / "report" / "report.md").read_text()
    assert "Synthetic" not in text
    for heading in (
        "## Test",
        "## Dev",
        "## Against the mean single network",
        "## Gap closed",
        "## Other language models",
    ):
        assert heading in text
    words = json.loads((work / "report" / "report.json").read_text())["systems"][0]["metrics"]["test"][
        "words"
    ]
    row = next(line for line in text.splitlines() if line.startswith("| member-0 |"))
    assert f"| {100 * 5 / words:.2f} |" in row
    assert "| 5 | 0 / 5 / 0 |" in row
    for picture in ("wer.png", "training.png"):
        assert f"({picture})" in text
        assert (work / "report" / picture).stat().st_size > 5000


def test_synthetic_speech_is_labelled(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.data.corpus = "mini"
    assert written(config, work)["synthetic_speech"] is True
    assert "Synthetic speech: a smoke test" in (work / "report" / "report.md").read_text()


def test_markdown_and_page_say_the_same_of_the_gap_and_of_training(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    config.compress.pruned = {"small": PruneConfig()}
    make_model(work / "compress" / "small", seed=6)
    write_decodings(config, work, WRONG | {"small": 6})
    gap = written(config, work)["gap_closed"]["student"]
    cells = markdown.gap_cells(gap, "frame_accuracy")
    assert cells[0] == "75 %"
    text, page = ((work / "report" / name).read_text() for name in ("report.md", "report.html"))
    assert f"| student | {' | '.join(cells)} |" in text
    assert all(f">{cell}</td>" in page for cell in cells)
    for said in (text, page):
        assert "Of pruned networks (small) the last round alone is shown." in said
    # Five and three errors: of two members the better one.
    assert '<th scope="row">member-1 (median member)</th>' in page


def test_a_single_member_has_no_gap_to_close(tmp_path: Path) -> None:
    config = make_work(tmp_path, members=1)
    write_decodings(config, tmp_path, WRONG)
    content = written(config, tmp_path)
    nothing = {"frame_accuracy": None, "cross_entropy": None}
    unknown = {**nothing, "by": "utterance", "intervals": nothing, "by_utterance": None, "by_speaker": None}
    assert content["gap_closed"] == {"student": unknown}
    assert content["pairs"] == []
    assert [entry["system"] for entry in content["comparisons"]] == ["student"]


def test_a_missing_decoding_is_named(recipe: tuple[Config, Path]) -> None:
    config, work = recipe
    (work / "decode" / "unigram" / "gmm" / "manifest.json").unlink()
    with pytest.raises(AsrKdError, match="unigram/gmm"):
        write.write(config, work)


@pytest.mark.parametrize(
    ("values", "more_is_better", "gap"),
    [
        ((0.6, 0.5, 0.7), True, 0.5),
        ((1.2, 1.3, 1.1), False, 0.5),
        ((0.6, 0.5, 0.5), True, None),
        ((0.5, 0.6, 0.59), True, None),
        ((1.2, 1.1, 1.3), False, None),
        ((None, 0.5, 0.7), True, None),
    ],
)
def test_gap_closed(
    values: tuple[float | None, float, float], more_is_better: bool, gap: float | None
) -> None:
    assert rates.gap_closed(*values, more_is_better) == (pytest.approx(gap) if gap else None)
