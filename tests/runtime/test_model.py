import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr_kd import artifacts
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


@pytest.mark.parametrize("name", ["network.onnx", "HCLG.fst", "log_priors.npy", "model.json"])
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
    with pytest.raises(AsrKdError, match="is not a model"):
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
