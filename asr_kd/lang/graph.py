"""Decoding graphs: HCLG over senones, after Mohri, Pereira and Riley (2008) and Kaldi's mkgraph.sh."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import kaldifst
import kaldilm

from asr_kd.corpus.arpa import BEGIN, END
from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.lang.arpa import restrict_arpa
from asr_kd.lang.lexicon_fst import DisambiguationLabels, Entry, entries, lexicon_fst
from asr_kd.progress import say

if TYPE_CHECKING:  # the rooms hmm and lang do not need each other to be loaded
    from asr_kd.hmm import GmmHmm

GRAPH_FILE = "HCLG.fst"
WORDS_FILE = "words.txt"
EPSILON = "<eps>"
BACKOFF = "#0"
TRANSITION_SCALE = 1.0
SELF_LOOP_SCALE = 0.1


@dataclass(frozen=True)
class GraphSummary:
    """The size of a decoding graph.

    Attributes:
        words: in its vocabulary.
        ngrams: of the language model, by order.
        states: of HCLG.
        arcs: of HCLG.
    """

    words: int
    ngrams: tuple[int, ...]
    states: int
    arcs: int


def build_graph(
    model: "GmmHmm", lexicon: Lexicon, arpa_path: Path, folder: Path, silence_probability: float
) -> GraphSummary:
    """Compose model, lexicon and language model into a graph to decode with.

    Writes ``HCLG.fst`` (input labels senone + 1, output labels words) and ``words.txt`` into `folder`.

    Args:
        model: whose tree, topology and transitions to use.
        lexicon: words to recognise; those that the language model lacks are left out.
        arpa_path: the language model; n-grams with other words are left out.
        folder: to write into.
        silence_probability: of silence between words.

    Raises:
        AsrKdError: the ARPA file is damaged or shares no word with the lexicon, or a word is pronounced with
            a phone that the model does not have.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".lm-") as scratch:
        clean = Path(scratch) / "clean.arpa"
        arpa = restrict_arpa(arpa_path, lexicon.entries.keys(), clean)
        words = _number_words(arpa.words)
        _write_words(folder / WORDS_FILE, words)
        grammar = _grammar_fst(clean, folder / WORDS_FILE, Path(scratch) / "G.fst")
    if arpa.dropped_words:
        say(f"{arpa_path.name}: {len(arpa.dropped_words)} of its words are not in the lexicon: left out")
    lexicon_entries = entries(lexicon.restricted(arpa.words))
    _check_phones(model, lexicon_entries)
    disambiguation = _disambiguation_labels(model, lexicon_entries, words[BACKOFF])
    phones = model.phones
    lexical = lexicon_fst(
        lexicon_entries, words, phones.number, phones.silence, silence_probability, disambiguation
    )
    language = _optimise(kaldifst.compose(lexical, grammar))
    graph = _add_hmm(model, language, disambiguation.phones)
    if graph.start < 0:
        raise AsrKdError(f"{arpa_path}: the language model allows no sentence of the lexicon's words")
    if not graph.write(str(folder / GRAPH_FILE)):
        raise RuntimeError(f"{folder / GRAPH_FILE} could not be written")
    arcs = sum(graph.num_arcs(state) for state in range(graph.num_states))
    return GraphSummary(len(arpa.words), arpa.ngrams, graph.num_states, arcs)


def _number_words(words: Sequence[str]) -> dict[str, int]:
    """Kaldi's order: epsilon, the words, the back-off symbol, begin and end of the sentence."""
    return {word: number for number, word in enumerate([EPSILON, *words, BACKOFF, BEGIN, END])}


def _write_words(path: Path, words: Mapping[str, int]) -> None:
    path.write_text("".join(f"{word} {number}\n" for word, number in words.items()), encoding="utf-8")


def _grammar_fst(arpa: Path, words: Path, target: Path) -> kaldifst.StdVectorFst:
    """The language model as an acceptor of words, with #0 on the input side of back-off arcs."""
    with _without_messages():
        kaldilm.arpa2fst(
            input_arpa=str(arpa),
            output_fst=str(target),
            disambig_symbol=BACKOFF,
            read_symbol_table=str(words),
            max_arpa_warnings=0,
        )
    return kaldifst.StdVectorFst.read(str(target))


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Silence what C++ code prints to standard error, where Python cannot redirect it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _check_phones(model: "GmmHmm", lexicon_entries: Sequence[Entry]) -> None:
    known = set(model.phones.names)
    for entry in lexicon_entries:
        foreign = [phone for phone in entry.phones if phone not in known]
        if foreign:
            raise AsrKdError(
                f"the word {entry.word!r} is pronounced with {foreign[0]!r}, a phone that the alignment "
                "model does not have; train it with the same lexicon"
            )


def _disambiguation_labels(
    model: "GmmHmm", lexicon_entries: Sequence[Entry], backoff_word: int
) -> DisambiguationLabels:
    """Labels after the phones': #0 for back-off, #1 and on for pronunciations, one more for silence."""
    symbols = max((entry.disambiguation for entry in lexicon_entries), default=0) + 2
    first = max(model.phones.numbers) + 1
    return DisambiguationLabels(tuple(range(first, first + symbols)), backoff_word)


def _optimise(fst: kaldifst.StdVectorFst) -> kaldifst.StdVectorFst:
    """Remove epsilons, determinise in the log semiring, minimise."""
    result = kaldifst.StdVectorFst(fst)
    kaldifst.determinize_star(result, use_log=True)
    kaldifst.minimize_encoded(result)
    kaldifst.arcsort(result, sort_type="ilabel")
    return result


def _add_hmm(
    model: "GmmHmm", language: kaldifst.StdVectorFst, disambiguation: Sequence[int]
) -> kaldifst.StdVectorFst:
    """From a graph over phones to one over senones."""
    width = model.hmm.context.context_width
    context, windows = kaldifst.compose_context(list(disambiguation), width, width // 2, language)
    kaldifst.arcsort(context, sort_type="ilabel")
    states, disambiguation_labels = model.hmm.h_transducer(windows, TRANSITION_SCALE)
    graph = kaldifst.StdVectorFst(kaldifst.compose(states, context))
    kaldifst.determinize_star(graph, use_log=True)
    kept = {label: label for label in range(1, model.hmm.transitions.num_transition_ids + 1)}
    graph = _relabel_inputs(graph, kept | dict.fromkeys(disambiguation_labels, 0))
    kaldifst.minimize_encoded(graph)
    graph = model.hmm.add_self_loops(graph, SELF_LOOP_SCALE)
    senones = {label: int(pdf) + 1 for label, pdf in enumerate(model.hmm.pdf_of_transition) if label}
    return _relabel_inputs(graph, senones)


def _relabel_inputs(fst: kaldifst.StdVectorFst, labels: Mapping[int, int]) -> kaldifst.StdVectorFst:
    """Replace input labels, all of which are in `labels`; 0 makes them epsilon.

    Composition with a transducer of one state does it at the speed of C++.
    """
    mapping = kaldifst.StdVectorFst()
    state = mapping.add_state()
    mapping.start = state
    mapping.set_final(state, 0.0)
    for old, new in labels.items():
        mapping.add_arc(state, kaldifst.StdArc(new, old, 0.0, state))
    kaldifst.arcsort(mapping, sort_type="olabel")
    return kaldifst.StdVectorFst(kaldifst.compose(mapping, fst))
