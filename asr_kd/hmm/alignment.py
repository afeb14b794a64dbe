"""Forced alignment of utterances: graphs of their transcripts, Viterbi search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import kaldi_hmm_gmm as khg
import kaldifst
import numpy as np

from asr_kd.corpus.lexicon import Lexicon
from asr_kd.errors import AsrKdError
from asr_kd.hmm.definition import KaldiHmm
from asr_kd.hmm.tree_statistics import utterance_events
from asr_kd.lang.lexicon_fst import entries, lexicon_fst

# The scales of Kaldi's recipes: acoustic scores of neighbouring frames are far from independent.
ACOUSTIC_SCALE = 0.1
TRANSITION_SCALE = 1.0
SELF_LOOP_SCALE = 0.1
# Memory of a state and of an arc of OpenFst's vector format, with what the allocator adds.
STATE_BYTES, ARC_BYTES = 96, 24


@dataclass(frozen=True)
class AlignmentSettings:
    """How utterances are aligned.

    Attributes:
        beam: of the search, in units of scaled log likelihood.
        retry_beam: for utterances that the first beam loses.
        silence_probability: of silence between words.
    """

    beam: float
    retry_beam: float
    silence_probability: float


@dataclass(frozen=True, eq=False)
class TranscriptGraph:
    """What an utterance may be: its transcript with every pronunciation and optional silence.

    Attributes:
        fst: from transition ids to words, without transition probabilities.
        transitions: ascending transition ids that occur in it.
        pdfs: ascending pdfs that occur in it.
        pdf_columns: for each of `transitions`, the place of its pdf in `pdfs`.
        bytes: of memory, about.
    """

    fst: kaldifst.StdVectorFst
    transitions: np.ndarray
    pdfs: np.ndarray
    pdf_columns: np.ndarray
    bytes: int


class GraphCompiler:
    """Makes transcript graphs for one HMM and one lexicon."""

    def __init__(self, hmm: KaldiHmm, lexicon: Lexicon, silence_probability: float) -> None:
        self._hmm = hmm
        self._words = {word: number for number, word in enumerate(sorted(lexicon.entries), start=1)}
        phones = hmm.definition.phones
        # The compiler keeps no references: everything it is given stays in this object.
        self._lexicon_fst = lexicon_fst(
            entries(lexicon), self._words, phones.number, phones.silence, silence_probability
        )
        # Scales of 0: probabilities change between passes and are put in at alignment time.
        self._options = khg.TrainingGraphCompilerOptions(transition_scale=0.0, self_loop_scale=0.0)
        # A transition model of its own, too: the HMM's is replaced when it is trained.
        self._transitions = khg.TransitionModel(hmm.context, hmm.topology)
        self._compiler = khg.TrainingGraphCompiler(
            self._transitions, hmm.context, self._lexicon_fst, [], self._options
        )

    def compile(self, words: Sequence[str]) -> TranscriptGraph:
        """The graph of one transcript, whose words must be in the lexicon."""
        fst = self._compiler.compile_graph_from_text([self._words[word] for word in words])
        labels = [
            arc.ilabel for state in kaldifst.StateIterator(fst) for arc in kaldifst.ArcIterator(fst, state)
        ]
        transitions = np.array(sorted(set(labels) - {0}), dtype=np.int64)
        pdfs, columns = np.unique(self._hmm.pdf_of_transition[transitions], return_inverse=True)
        size = STATE_BYTES * fst.num_states + ARC_BYTES * len(labels) + 3 * transitions.nbytes
        return TranscriptGraph(fst, transitions, pdfs, columns, size)


def align(
    hmm: KaldiHmm, graph: TranscriptGraph, scores: np.ndarray, settings: AlignmentSettings, utterance: str
) -> np.ndarray | None:
    """The best path through a transcript graph.

    Args:
        hmm: whose transition probabilities to use.
        graph: of the utterance.
        scores: ``(frames, len(graph.pdfs))`` log likelihoods.
        settings: beams.
        utterance: its id, for Kaldi's messages.

    Returns:
        ``(frames,)`` int32 transition ids, or None if no path was found.
    """
    fst = kaldifst.StdVectorFst(graph.fst)
    khg.add_transition_probs(
        trans_model=hmm.transitions,
        disambig_syms=[],
        transition_scale=TRANSITION_SCALE,
        self_loop_scale=SELF_LOOP_SCALE,
        fst=fst,
    )
    # One column for every transition id; columns of others than the graph's are never read.
    table = np.zeros((len(scores), hmm.transitions.num_transition_ids), dtype=np.float32)
    table[:, graph.transitions - 1] = ACOUSTIC_SCALE * scores[:, graph.pdf_columns]
    decodable = khg.DecodableCtc(table)
    config = khg.AlignConfig(beam=settings.beam, retry_beam=settings.retry_beam)
    outcome = khg.align_utterance_wrapper(config, utterance, 1.0, fst, decodable, 0, 0, 0, 0.0, 0)
    path = np.asarray(outcome[5], dtype=np.int32)
    return path if len(path) == len(scores) and outcome[0] else None


def align_equally(graph: TranscriptGraph, frames: int, seed: int) -> np.ndarray | None:
    """A path that spreads the frames evenly over one random pronunciation: where training starts from.

    Returns:
        ``(frames,)`` int32 transition ids, or None if the utterance is too short for its transcript.
    """
    found, path = kaldifst.equal_align(graph.fst, frames, seed)
    if not found:
        return None
    labels = kaldifst.get_linear_symbol_sequence(path)[1]
    return np.asarray(labels, dtype=np.int32) if len(labels) == frames else None


def retied(path: np.ndarray, before: KaldiHmm, after: KaldiHmm) -> np.ndarray:
    """The same path through an HMM whose states are tied by another tree (the purpose of convert-ali).

    Args:
        path: ``(frames,)`` int32 transition ids of `before`.
        before: the HMM that was aligned with.
        after: of triphones, with the same phones and topology.

    Returns:
        ``(frames,)`` int32 transition ids of `after`.
    """
    owners = before.owner_of_transition[path]
    events, inverse = np.unique(utterance_events(owners[:, 0], owners[:, 1]), axis=0, return_inverse=True)
    known = [after.context.compute(event[:3], event[3]) for event in events.tolist()]
    pdfs = np.array([pdf for _, pdf in known])[inverse.ravel()]
    keys = zip(*owners.T.tolist(), pdfs.tolist(), strict=True)
    return np.array([after.transition_of_owner[key] for key in keys], dtype=np.int32)


def check_transcripts(
    transcripts: Mapping[str, Sequence[str]], lexicon: Lexicon, phones: Sequence[str]
) -> None:
    """Make sure that every transcript can be spelled out in phones of the model.

    Raises:
        AsrKdError: names the first word and its utterance, or the phone, that is unknown.
    """
    known = set(phones)
    for utterance, words in transcripts.items():
        for word in words:
            if word not in lexicon:
                raise AsrKdError(
                    f"utterance {utterance}: the word {word!r} is not in the lexicon; "
                    "add a pronunciation, or let stage data make one (data.missing_words=pronounce)"
                )
            foreign = {phone for phones_ in lexicon.entries[word] for phone in phones_} - known
            if foreign:
                raise AsrKdError(
                    f"the word {word!r} is pronounced with {min(foreign)!r}, a phone that the alignment "
                    "model does not have; align with the lexicon that the model was trained with"
                )
