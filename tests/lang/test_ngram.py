from pathlib import Path

import numpy as np
import pytest

from asr_kd.errors import AsrKdError
from asr_kd.lang import train_arpa

SENTENCES = [line.split() for line in ["A B A", "A B", "B A", "A A C", "A C B", "D"]]
VOCABULARY = ["A", "B", "C", "UNSEEN", "LATER"]

Model = dict[tuple[str, ...], tuple[float, float]]


def _read(path: Path) -> Model:
    """Probability and back-off weight of every n-gram."""
    model: Model = {}
    order = 0
    for line in path.read_text().splitlines():
        if line.endswith("-grams:"):
            order = int(line[1:-7])
        elif order and line and not line.startswith("\\"):
            fields = line.replace("\t", " ").split()
            backoff = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
            model[tuple(fields[1 : order + 1])] = (10 ** float(fields[0]), 10**backoff)
    return model


def _probability(model: Model, history: tuple[str, ...], word: str) -> float:
    if (*history, word) in model:
        return model[*history, word][0]
    if not history:
        return 0.0
    return (model[history][1] if history in model else 1.0) * _probability(model, history[1:], word)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one_after_every_history(tmp_path: Path, order: int) -> None:
    train_arpa(SENTENCES, order, tmp_path / "lm", VOCABULARY)
    model = _read(tmp_path / "lm")
    words = [*VOCABULARY, "<unk>", "</s>"]
    assert {ngram for ngram in model if len(ngram) == 1} == {(word,) for word in [*words, "<s>"]}
    histories = {ngram[:-1] for ngram in model}
    assert max(map(len, histories)) == order - 1
    for history in histories:
        assert sum(_probability(model, history, word) for word in words) == pytest.approx(1, abs=1e-4)


def test_unseen_words_share_evenly_what_is_discounted(tmp_path: Path) -> None:
    train_arpa(SENTENCES, 1, tmp_path / "lm", VOCABULARY)
    model = _read(tmp_path / "lm")
    # 7 A, 4 B, 2 C, 1 <unk> and 6 ends; one word seen once, one twice: a discount of 1/3 from each of five.
    share = (5 / 3) / 20 / 7
    assert model["UNSEEN",][0] == model["LATER",][0] == pytest.approx(share, rel=1e-4)
    assert model["A",][0] == pytest.approx((7 - 1 / 3) / 20 + share, rel=1e-4)
    assert model["<s>",][0] < 1e-90


def test_ngrams_that_save_little_can_be_left_out(tmp_path: Path) -> None:
    train_arpa(SENTENCES, 3, tmp_path / "all", VOCABULARY)
    train_arpa(SENTENCES, 3, tmp_path / "pruned", VOCABULARY, prune=0.01)
    everything, pruned = _read(tmp_path / "all"), _read(tmp_path / "pruned")
    assert pruned.keys() < everything.keys() and any(len(ngram) == 3 for ngram in pruned)
    assert {ngram for ngram in everything if len(ngram) == 1} <= pruned.keys()
    words = [*VOCABULARY, "<unk>", "</s>"]
    for history in {ngram[:-1] for ngram in pruned}:
        assert sum(_probability(pruned, history, word) for word in words) == pytest.approx(1, abs=1e-3)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(AsrKdError, match="order=0"):
        train_arpa(SENTENCES, 0, tmp_path / "lm", VOCABULARY)
    with pytest.raises(AsrKdError, match=r"prune=-1"):
        train_arpa(SENTENCES, 1, tmp_path / "lm", VOCABULARY, prune=-1.0)
    with pytest.raises(AsrKdError, match="no text"):
        train_arpa([], 2, tmp_path / "lm", VOCABULARY)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_arpa(SENTENCES, 2, tmp_path / "lm", VOCABULARY)
    assert capfd.readouterr() == ("", "")
    assert np.all([np.isfinite(value) for pair in _read(tmp_path / "lm").values() for value in pair])
