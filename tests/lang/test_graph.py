from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np
import pytest

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.hmm import GmmHmm
from asr_kd.lang import build_graph, train_arpa
from tests.hmm.toy import LEXICON, Toy, toy_corpus


def _decode(folder: Path, scores: np.ndarray) -> list[str]:
    graph = kaldifst.StdVectorFst.read(str(folder / "HCLG.fst"))
    names = {int(number): word for word, number in map(str.split, (folder / "words.txt").open())}
    decoder = kaldi_decoder.FasterDecoder(graph, kaldi_decoder.FasterDecoderOptions(beam=20.0))
    decodable = kaldi_decoder.DecodableCtc(np.ascontiguousarray(scores))
    decoder.decode(decodable)
    assert decoder.reached_final()
    _, best = decoder.get_best_path()
    return [names[label] for label in kaldifst.get_linear_symbol_sequence(best)[2]]


def test_new_utterances_are_recognised(
    tmp_path: Path, toy: Toy, toy_model: GmmHmm, capfd: pytest.CaptureFixture[str]
) -> None:
    train_arpa(toy.transcripts.values(), 2, tmp_path / "G.arpa", LEXICON.entries.keys())
    size = build_graph(toy_model, LEXICON, tmp_path / "G.arpa", tmp_path, 0.5)
    assert capfd.readouterr().err == ""
    graph = kaldifst.StdVectorFst.read(str(tmp_path / "HCLG.fst"))
    labels = {
        arc.ilabel for state in kaldifst.StateIterator(graph) for arc in kaldifst.ArcIterator(graph, state)
    }
    assert (size.words, size.states) == (4, graph.num_states)
    assert labels == set(range(toy_model.senones + 1))
    assert (tmp_path / "words.txt").read_text() == (
        "<eps> 0\nONE 1\nTHREE 2\nTO 3\nTWO 4\n#0 5\n<s> 6\n</s> 7\n"
    )
    other = toy_corpus(utterances=15, seed=9)
    for name, span in other.index.spans():
        assert _decode(tmp_path, 0.3 * toy_model.log_likelihoods(other.mfcc[span])) == other.transcripts[name]


def test_words_of_model_and_lexicon_are_intersected(
    tmp_path: Path, toy_model: GmmHmm, capsys: pytest.CaptureFixture[str]
) -> None:
    train_arpa([["ONE", "TWO"], ["TWO"]], 1, tmp_path / "G.arpa", ["ONE", "TWO", "FOUR"])
    size = build_graph(toy_model, LEXICON, tmp_path / "G.arpa", tmp_path, 0.5)
    assert size.words == 2 and "THREE" not in (tmp_path / "words.txt").read_text()
    assert "1 of its words are not in the lexicon" in capsys.readouterr().out


def test_unigrams_with_backoff_weights_make_a_graph(tmp_path: Path, toy_model: GmmHmm) -> None:
    lines = ["\\data\\", "ngram 1=4", "\\1-grams:", "-99 <s> -0.5", "-1 </s>", "-1 ONE -0.5", "-1 TWO -0.5"]
    (tmp_path / "G.arpa").write_text("\n".join([*lines, "\\end\\", ""]))
    assert build_graph(toy_model, LEXICON, tmp_path / "G.arpa", tmp_path, 0.5).words == 2


def test_foreign_phones_are_named(tmp_path: Path, toy_model: GmmHmm) -> None:
    train_arpa([["ONE"]], 1, tmp_path / "G.arpa", ["ONE"])
    with pytest.raises(AsrKdError, match="'ONE' is pronounced with 'X'"):
        build_graph(toy_model, Lexicon.from_mapping({"ONE": [["X"]]}), tmp_path / "G.arpa", tmp_path, 0.5)
