"""Every parser of files that users bring, each with a file that it reads: what bad input is made from.

`test_bad_input` alters the files at random, `fuzzing` in the directions that reach new code.
"""

import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from asr_kd import artifacts
from asr_kd.corpus.audio import read_audio
from asr_kd.corpus.download import unpack
from asr_kd.corpus.kaldi import read_data_dir
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.corpus.manifest import Utterance, read_manifest
from asr_kd.corpus.text import read_lines
from asr_kd.corpus.truncation import truncation
from asr_kd.corpus.unlabelled import read_unlabelled
from asr_kd.decoding.graph import load_graph
from asr_kd.decoding.search import Search, SearchSettings
from asr_kd.distillation.teachers import _read_mapping
from asr_kd.hmm.labels import read_labels, write_labels
from asr_kd.lang.arpa import restrict_arpa
from asr_kd.lang.graph import _grammar_fst, _number_words, _write_words
from asr_kd.models import build
from asr_kd.models.storage import load_model, save_model
from asr_kd.runtime.audio import read_blocks
from asr_kd.runtime.model import load_model_folder
from asr_kd.runtime.recogniser import Recogniser
from asr_kd.scoring.inputs import read_hypotheses, read_reference
from data_prep.mnist import read_idx
from tests.data_prep.test_mnist import write_idx
from tests.decoding.graphs import write_graph
from tests.lang.test_arpa import HEADER, MODEL
from tests.runtime.toy_model import write_model_folder, write_network

SHORT_SEARCH = 50  # frames


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        file: what is altered.
        write: into a folder, this file and all others that are read with it.
        parse: such a folder; `AsrKdError` is the only exception that it may raise.
    """

    file: str
    write: Callable[[Path], object]
    parse: Callable[[Path], object]


def text_file(name: str, content: str, parse: Callable[[Path], object]) -> Parser:
    """A parser of a text file of this content."""
    return Parser(
        name,
        lambda folder: (folder / name).write_text(content, encoding="utf-8"),
        lambda folder: parse(folder / name),
    )


def write_audio(name: str, folder: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
    if name.endswith(".raw"):
        (32768 * samples).astype(">i2").tofile(folder / name)
    else:
        soundfile.write(folder / name, samples, 16000)


def parse_audio(name: str, folder: Path) -> None:
    truncation(folder / name)
    for _ in read_blocks(str(folder / name), 8000):
        pass
    read_audio(Utterance("u", "s", str(folder / name), "A"), 16000, resample=True)


def write_data_dir(folder: Path) -> None:
    files = {"wav.scp": "call /c.wav\n", "utt2spk": "a s1\nb s2\n", "text": "a ONE\nb\n"}
    for name, content in {**files, "segments": "a call 0.5 2\nb call 2.25 -1\n"}.items():
        (folder / name).write_text(content)


def parse_arpa(folder: Path) -> None:
    words = restrict_arpa(folder / "a.arpa", {"A", "B", "C"}, folder / "clean.arpa").words
    _write_words(folder / "words.txt", _number_words(words))
    _grammar_fst(folder / "clean.arpa", folder / "words.txt", folder / "G.fst")


def parse_graph(folder: Path) -> None:
    graph = load_graph(folder)
    if graph.highest_input_label < 100:
        scores = np.zeros((SHORT_SEARCH, max(graph.highest_input_label, 1)), np.float32)
        search = Search(graph, graph.highest_input_label, SearchSettings(1.0, 10.0, 100))
        search(str(folder), scores)


def write_ark(folder: Path) -> None:
    write_labels(folder / "train.ark", [("a", np.array([1, 2, 3])), ("b", np.array([4]))])


def write_weights(folder: Path, sparse: bool = False) -> None:
    save_model(folder, build({"kind": "dnn", "hidden_layers": 1, "hidden_units": 4}, 3, 2, seed=0), sparse)


def parse_weights(folder: Path) -> None:
    model = load_model(folder)
    with torch.inference_mode():
        model(torch.zeros(1, model.left_context + 1 + model.right_context, model.input_dims))


@cache
def network() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_network(Path(folder) / "network.onnx")
        return (Path(folder) / "network.onnx").read_bytes()


def write_recogniser(folder: Path) -> None:
    (folder / "network.onnx").write_bytes(network())
    write_model_folder(folder / "folder", folder / "network.onnx")


def parse_recogniser(folder: Path) -> None:
    vouch(folder / "folder")
    recogniser = Recogniser(folder / "folder")
    list(recogniser.recognise([np.zeros(recogniser.sample_rate, np.float32)]))


def vouch(folder: Path) -> None:
    """A manifest that says that the files are right, as whoever alters them would write it."""
    files = [file for file in folder.iterdir() if file.name != artifacts.MANIFEST]
    entries = {
        file.name: {"bytes": file.stat().st_size, "sha256": artifacts.file_digest(file)} for file in files
    }
    content = {"fingerprint": {}, "files": entries, "versions": {}}
    (folder / artifacts.MANIFEST).write_text(json.dumps(content))


def write_archive(mode: str, folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "a.txt").write_text("A")
    (folder / "in" / "link").symlink_to("a.txt")
    with tarfile.open(folder / "corpus.tar", mode) as tar:
        tar.add(folder / "in", "in")


def parse_archive(folder: Path) -> None:
    shutil.rmtree(folder / "out", ignore_errors=True)
    unpack(folder / "corpus.tar", folder / "out")


def write_mapping(folder: Path) -> None:
    np.save(folder / "map.npy", np.eye(3)[[0, 2, 1, 1]])


JSON_LINES = '{"id": "u", "speaker": "s", "audio": "u.wav", "text": "A B", "start_seconds": 1.5}\n'

PARSERS = {
    **{
        f"audio {name}": Parser(name, partial(write_audio, name), partial(parse_audio, name))
        for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.raw")
    },
    "lexicon": text_file("lexicon.txt", "A AH0\nA(2) EY1\nCAFÉ K AE F EY\n", Lexicon.read),
    "text": text_file("lm.txt", "A B\n\nDÉJÀ VU\n", read_lines),
    "manifest": text_file("m.jsonl", JSON_LINES, read_manifest),
    "unlabelled": text_file("m.jsonl", JSON_LINES, lambda path: read_unlabelled(str(path))),
    **{
        f"data directory: {name}": Parser(name, write_data_dir, read_data_dir)
        for name in ("wav.scp", "utt2spk", "text", "segments")
    },
    "ARPA": Parser("a.arpa", lambda at: (at / "a.arpa").write_text(HEADER + MODEL), parse_arpa),
    "graph": Parser("HCLG.fst", lambda at: write_graph(at, ["A", "B"]), parse_graph),
    "words of a graph": Parser("words.txt", lambda at: write_graph(at, ["A", "B"]), parse_graph),
    "labels, text": text_file("train.txt", "a 1 2 3\nb 4\n", read_labels),
    "labels, archive": Parser("train.ark", write_ark, lambda at: read_labels(at / "train.ark")),
    "reference": text_file("r.jsonl", JSON_LINES, read_reference),
    "hypotheses, text": text_file("h.txt", "a ONE TWO\nb\n", lambda path: read_hypotheses(path, {})),
    "hypotheses, CTM": text_file("h.ctm", "a 1 0.5 0.1 ONE 0.9\n", lambda path: read_hypotheses(path, {})),
    "hypotheses, JSON": text_file("h.jsonl", JSON_LINES, lambda path: read_hypotheses(path, {})),
    "weights": Parser("model.safetensors", write_weights, parse_weights),
    "sparse weights": Parser("model.safetensors", partial(write_weights, sparse=True), parse_weights),
    "description": Parser("model.json", write_weights, parse_weights),
    "senone mapping": Parser("map.npy", write_mapping, lambda at: _read_mapping(at / "map.npy", 3)),
    **{
        f"recogniser: {name}": Parser(f"folder/{name}", write_recogniser, parse_recogniser)
        for name in (
            "model.json",
            "phones.json",
            "log_priors.npy",
            "statistics.npy",
            "HCLG.fst",
            "HCLG.counts.npy",
        )
    },
    "manifest of an artefact": Parser(
        "folder/manifest.json", write_recogniser, lambda at: load_model_folder(at / "folder")
    ),
    "archive": Parser("corpus.tar", partial(write_archive, "w"), parse_archive),
    "archive, packed": Parser("corpus.tar", partial(write_archive, "w:gz"), parse_archive),
    "digits": Parser(
        "d.gz", lambda at: write_idx(at / "d.gz", np.zeros((2, 3))), lambda at: read_idx(at / "d.gz")
    ),
}
