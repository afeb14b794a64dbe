import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from asr_kd import artifacts
from asr_kd.decoding.graph import COUNTS_FILE
from asr_kd.errors import AsrKdError
from asr_kd.runtime.model import load_model_folder


def altered(folder: Path, to: Path, name: str, content: bytes) -> Path:
    """A copy with one file replaced and a manifest that says so."""
    with artifacts.create(to, {"kind": "model folder"}) as copy:
        for file in folder.iterdir():
            if file.name != artifacts.MANIFEST:
                shutil.copyfile(file, copy / file.name)
        (copy / name).write_bytes(content)
    return to


@pytest.mark.parametrize(
    "name", ["network.onnx", "HCLG.fst", "HCLG.counts.npy", "log_priors.npy", "model.json"]
)
def test_a_damaged_file_is_refused_by_name(model_folder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(AsrKdError, match=rf"{name} is damaged"):
        load_model_folder(folder)


def test_no_pickle_is_read(model_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    content = (tmp_path / "objects.npy").read_bytes()
    with pytest.raises(AsrKdError, match=r"log_priors.npy is not an array"):
        load_model_folder(altered(model_folder, tmp_path / "model", "log_priors.npy", content))


def test_a_newer_format_and_foreign_files_are_refused(model_folder: Path, tmp_path: Path) -> None:
    card = json.loads((model_folder / "model.json").read_text())
    newer = json.dumps(card | {"format": 9}).encode()
    with pytest.raises(AsrKdError, match="format 9"):
        load_model_folder(altered(model_folder, tmp_path / "newer", "model.json", newer))
    with pytest.raises(AsrKdError, match=r"network.onnx is not a network exported by this program"):
        load_model_folder(altered(model_folder, tmp_path / "foreign", "network.onnx", b"onnx"))
    with pytest.raises(AsrKdError, match="not there or not complete"):
        load_model_folder(tmp_path)


def test_a_folder_without_notes_of_its_graph_is_read_as_well(model_folder: Path, tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "model", {"kind": "model folder"}) as copy:
        for file in model_folder.iterdir():
            if file.name not in {artifacts.MANIFEST, COUNTS_FILE}:
                shutil.copyfile(file, copy / file.name)
    graphs = [load_model_folder(folder).graph for folder in (tmp_path / "model", model_folder)]
    assert graphs[0].hclg.to_str() == graphs[1].hclg.to_str()


def test_notes_of_another_graph_are_refused(model_folder: Path, tmp_path: Path) -> None:
    counts = np.load(model_folder / COUNTS_FILE)
    np.save(tmp_path / "other.npy", counts + 1)
    content = (tmp_path / "other.npy").read_bytes()
    with pytest.raises(AsrKdError, match=r"HCLG.fst .*not the numbers of arcs that were noted"):
        load_model_folder(altered(model_folder, tmp_path / "model", COUNTS_FILE, content))


def test_a_file_that_the_manifest_does_not_vouch_for_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    manifest = json.loads((folder / artifacts.MANIFEST).read_text())
    del manifest["files"]["network.onnx"], manifest["sha256"]
    (folder / artifacts.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(AsrKdError, match=r"network.onnx is not in manifest.json"):
        load_model_folder(folder)


def test_files_that_do_not_fit_are_refused(model_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "priors.npy", np.zeros(5, np.float32))
    content = (tmp_path / "priors.npy").read_bytes()
    with pytest.raises(AsrKdError, match="do not belong together"):
        load_model_folder(altered(model_folder, tmp_path / "model", "log_priors.npy", content))


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("features", "mel_bins", "8"),
        ("features", "mel_bins", 10**9),
        ("features", "frame_shift_milliseconds", 0),
        ("features", "frame_length_milliseconds", 900),
        ("features", "low_hertz", float("nan")),
        ("features", "high_hertz", 9000),
        ("features", "more", 1),
        ("search", "beam", float("inf")),
        ("search", "acoustic_scale", float("nan")),
        ("search", "max_active", 0),
        ("", "sample_rate", 10**12),
        ("", "sample_rate", "16000"),
        ("", "search", []),
    ],
)
def test_a_card_cannot_ask_for_what_has_no_sense(
    model_folder: Path, tmp_path: Path, place: str, name: str, value: object
) -> None:
    card = json.loads((model_folder / "model.json").read_text())
    (card[place] if place else card)[name] = value
    folder = altered(model_folder, tmp_path / "model", "model.json", json.dumps(card).encode())
    with pytest.raises(AsrKdError, match=rf"{tmp_path / 'model'} is not a model of this program.*"):
        load_model_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b"{}",
        b'{"senones": [{"phones": 3, "first": 1}], "silence": "SIL", "lexicon": {}}',
        b'{"senones": [], "silence": "SIL", "lexicon": []}',
    ],
)
def test_phones_that_mean_nothing_are_refused(model_folder: Path, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(AsrKdError, match=r"phones\.json does not say what senones mean"):
        load_model_folder(altered(model_folder, tmp_path / "model", "phones.json", content))


def network_with(path: Path, to: Path, name: str, value: str) -> bytes:
    """The network, saying something else of itself."""
    network = onnx.load(path)
    (entry,) = (entry for entry in network.metadata_props if entry.key == name)
    entry.value = value
    onnx.save(network, to)
    return to.read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [("left_context", "1000000000000"), ("right_context", "-1"), ("senones", "4"), ("input_dims", "9")],
)
def test_a_network_gives_what_it_says(model_folder: Path, tmp_path: Path, name: str, value: str) -> None:
    content = network_with(model_folder / "network.onnx", tmp_path / "n.onnx", name, value)
    with pytest.raises(AsrKdError, match=r"network\.onnx is not a network exported by this program"):
        load_model_folder(altered(model_folder, tmp_path / "model", "network.onnx", content))


def test_a_network_with_weights_that_are_no_numbers_is_refused(model_folder: Path, tmp_path: Path) -> None:
    network = onnx.load(model_folder / "network.onnx")
    for number, weight in enumerate(network.graph.initializer):
        changed = onnx.ModelProto()
        changed.CopyFrom(network)
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32:
            continue
        broken = onnx.numpy_helper.from_array(np.full_like(values, np.nan), weight.name)
        changed.graph.initializer[number].CopyFrom(broken)
        folder = tmp_path / f"model{number}"
        with pytest.raises(AsrKdError, match=r"network\.onnx is not a network"):
            load_model_folder(altered(model_folder, folder, "network.onnx", changed.SerializeToString()))


def test_priors_and_statistics_are_numbers(model_folder: Path, tmp_path: Path) -> None:
    for number, priors in enumerate((np.full(3, np.nan, np.float32), np.array(["a", "b", "c"]))):
        np.save(tmp_path / "priors.npy", priors)
        content = (tmp_path / "priors.npy").read_bytes()
        with pytest.raises(AsrKdError, match=r"do not belong together|holds <U1, and no numbers"):
            load_model_folder(altered(model_folder, tmp_path / f"{number}", "log_priors.npy", content))
    np.save(tmp_path / "rows.npy", np.zeros((8, 0), np.float32))
    content = (tmp_path / "rows.npy").read_bytes()
    with pytest.raises(AsrKdError, match=r"statistics\.npy does not hold the statistics of 3 senones"):
        load_model_folder(altered(model_folder, tmp_path / "model", "statistics.npy", content))


@pytest.mark.parametrize(
    "files", [[], {"../a": {"bytes": 0, "sha256": ""}}, {"/etc/passwd": {"bytes": 0, "sha256": ""}}, {"a": 1}]
)
def test_a_manifest_of_other_files_is_refused(tmp_path: Path, files: object) -> None:
    content = {"fingerprint": {}, "files": files, "versions": {}}
    for text in (json.dumps(content), "[]", "3", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(AsrKdError, match=r"manifest\.json is damaged"):
            load_model_folder(tmp_path)


def test_a_file_is_no_model_folder(model_folder: Path) -> None:
    with pytest.raises(AsrKdError, match=r"network\.onnx is not there or not complete"):
        load_model_folder(model_folder / "network.onnx")
