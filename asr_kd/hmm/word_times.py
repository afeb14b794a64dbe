"""When the words of a transcript are spoken, by forced alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

import kaldifst
import numpy as np

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.hmm.alignment import GraphCompiler, align, check_transcripts
from asr_kd.hmm.model import GmmHmm


@dataclass(frozen=True)
class WordTime:
    """A word and its frames, `end` excluded."""

    word: str
    start: int
    end: int


def word_times(
    model: GmmHmm, lexicon: Lexicon, words: Sequence[str], mfcc: np.ndarray, utterance: str
) -> list[WordTime] | None:
    """The frames of every word.

    Args:
        model: the alignment model.
        lexicon: with a pronunciation for each word.
        words: of the transcript.
        mfcc: ``(frames, cepstra)`` float32.
        utterance: its id, for messages.

    Returns:
        One for each word, in order; None where the utterance cannot be aligned.

    Raises:
        AsrKdError: a word or phone is unknown.
    """
    if not words:
        return []
    own = lexicon.restricted(set(words))
    check_transcripts({utterance: words}, own, model.phones.names)
    graph = GraphCompiler(model.hmm, own, model.settings.silence_probability).compile(words)
    scores = model.densities.gmms.log_likelihoods(model.densities.features(mfcc), graph.pdfs)
    path = align(model.hmm, graph, scores, model.settings, utterance)
    if path is None:
        return None
    starts = _emissions(graph.fst, path)
    if len(starts) != len(words):
        return None
    transitions = model.hmm.transitions
    speech = (
        np.array([transitions.transition_id_to_phone(int(label)) for label in path]) != model.phones.silence
    )
    times = []
    for word, start, bound in zip(words, starts, [*starts[1:], len(path)], strict=True):
        spoken = np.flatnonzero(speech[start:bound])
        # The silence after a word is not the word's.
        end = start + int(spoken[-1]) + 1 if len(spoken) else bound
        times.append(WordTime(word, start + int(spoken[0]) if len(spoken) else start, end))
    return times


def _emissions(graph: kaldifst.StdVectorFst, path: np.ndarray) -> list[int]:
    """The frames at which words begin on a path of transition ids through a transcript graph."""
    line = kaldifst.StdVectorFst()
    state = line.add_state()
    line.start = state
    for label in path:
        following = line.add_state()
        line.add_arc(state, kaldifst.StdArc(int(label), int(label), 0.0, following))
        state = following
    line.set_final(state, 0.0)
    ordered = kaldifst.StdVectorFst(graph)
    kaldifst.arcsort(ordered, sort_type="ilabel")
    best = kaldifst.shortest_path(kaldifst.compose(line, ordered))
    starts, frame, state = [], 0, best.start
    while state >= 0:
        arc = next(iter(kaldifst.ArcIterator(best, state)), None)
        if arc is None:
            break
        if arc.olabel:
            starts.append(frame)
        frame += bool(arc.ilabel)
        state = arc.nextstate
    return starts
