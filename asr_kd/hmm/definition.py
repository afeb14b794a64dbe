"""An HMM without its densities: phones, topology, tree and transitions."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import kaldi_hmm_gmm as khg
import kaldifst
import numpy as np

from asr_kd.errors import AsrKdError
from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.tree import context_dependency

PHONES_FILE = "phones.txt"
TOPOLOGY_FILE = "topology.txt"
TREE_FILE = "tree"
TRANSITIONS_FILE = "transitions.npy"
STRUCTURE_FILES = (PHONES_FILE, TOPOLOGY_FILE, TREE_FILE, TRANSITIONS_FILE)
# Kaldi marks binary files so.
BINARY_MARK = b"\0B"


@dataclass(frozen=True, eq=False)
class HmmDefinition:
    """Plain data that can be stored and sent to workers.

    Attributes:
        phones: the phones.
        topology: Kaldi's text format.
        tree: Kaldi's binary format, without the mark of files.
        transition_counts: ``(transition ids + 1,)`` float64, how often each transition was taken in training
            (entry 0 is unused), which the probabilities are estimated from; None: the topology's own.
    """

    phones: PhoneTable
    topology: str
    tree: bytes
    transition_counts: np.ndarray | None = None

    def with_counts(self, transition_counts: np.ndarray) -> "HmmDefinition":
        """The same HMM with transitions estimated from these counts."""
        return replace(self, transition_counts=transition_counts)

    def save(self, folder: Path) -> None:
        """Write phones.txt, topology.txt, tree (Kaldi binary) and transitions.npy."""
        self.phones.write(folder / PHONES_FILE)
        (folder / TOPOLOGY_FILE).write_text(self.topology, encoding="utf-8")
        (folder / TREE_FILE).write_bytes(BINARY_MARK + self.tree)
        if self.transition_counts is not None:
            np.save(folder / TRANSITIONS_FILE, self.transition_counts, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "HmmDefinition":
        """Read what `save` wrote.

        Raises:
            AsrKdError: a file is missing or damaged.
        """
        phones = PhoneTable.read(folder / PHONES_FILE)
        try:
            topology = (folder / TOPOLOGY_FILE).read_text(encoding="utf-8")
            tree = (folder / TREE_FILE).read_bytes()
            counts = np.load(folder / TRANSITIONS_FILE, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise AsrKdError(
                f"{folder} holds no complete alignment model ({error}); run stage align"
            ) from error
        if not tree.startswith(BINARY_MARK):
            raise AsrKdError(f"{folder / TREE_FILE} is not a binary Kaldi tree; run stage align again")
        return cls(phones, topology, tree.removeprefix(BINARY_MARK), counts)


class KaldiHmm:
    """Kaldi's objects for a definition, held together because they keep no references to each other."""

    def __init__(self, definition: HmmDefinition) -> None:
        self.definition = definition
        self.topology = khg.HmmTopology()
        self.topology.read(definition.topology)
        self.context = context_dependency(definition.tree)
        self.transitions = khg.TransitionModel(self.context, self.topology)
        if definition.transition_counts is not None:
            self.set_transitions(definition.transition_counts)

    def set_transitions(self, counts: np.ndarray) -> None:
        """Estimate the transition probabilities from counts ``(transition ids + 1,)``.

        They depend on the counts alone: states seen too rarely take the topology's probabilities.

        Raises:
            AsrKdError: the counts do not belong to this tree and topology.
        """
        if len(counts) != self.transitions.num_transition_ids + 1:
            raise AsrKdError(
                f"the alignment model has {self.transitions.num_transition_ids} transitions but counts of "
                f"{len(counts) - 1}; its files do not belong together: run stage align again"
            )
        self.transitions = khg.TransitionModel(self.context, self.topology)
        self.transitions.mle_update(counts, khg.MleTransitionUpdateConfig())

    @property
    def pdfs(self) -> int:
        """The number of pdfs, that is senones."""
        return int(self.context.num_pdfs)

    @cached_property
    def pdf_of_transition(self) -> np.ndarray:
        """``(transition ids + 1,)`` int32, the pdf of each transition id; entry 0 is unused."""
        return np.asarray(self.transitions.transition_id_to_pdf_array(), dtype=np.int32)

    @cached_property
    def owner_of_transition(self) -> np.ndarray:
        """``(transition ids + 1, 3)`` int64, the phone, its HMM state, and the place among the state's
        transitions; row 0 is unused.
        """
        # Their text is all that the wheel shows of a transition state: phone, HMM state, pdfs.
        texts = map(str, self.transitions.tuples)
        owners = np.array([re.findall(r"\d+", text)[:2] for text in texts], dtype=np.int64)
        states = np.asarray(self.transitions.id2state[1:]) - 1
        firsts = np.asarray(self.transitions.state2id[1:])[states]
        table = np.zeros((self.transitions.num_transition_ids + 1, 3), dtype=np.int64)
        table[1:, :2] = owners[states]
        table[1:, 2] = np.arange(1, len(table)) - firsts
        return table

    @cached_property
    def transition_of_owner(self) -> dict[tuple[int, int, int, int], int]:
        """The transition id of a phone, HMM state, place among the state's transitions, and pdf."""
        pairs = enumerate(
            zip(self.owner_of_transition.tolist(), self.pdf_of_transition.tolist(), strict=True)
        )
        return {(*owner, pdf): transition for transition, (owner, pdf) in pairs if transition}

    def senone_phones(self) -> list[tuple[frozenset[str], bool]]:
        """By senone: the phones whose state it is (several where rare ones are tied), and if their first."""
        names: list[set[str]] = [set() for _ in range(self.pdfs)]
        first = [False] * self.pdfs
        for pdf, (phone, state, _) in zip(
            self.pdf_of_transition[1:], self.owner_of_transition[1:], strict=True
        ):
            names[pdf].add(self.definition.phones.names[phone - 1])
            first[pdf] = bool(state == 0)
        return [(frozenset(phones), starts) for phones, starts in zip(names, first, strict=True)]

    def h_transducer(
        self, windows: list[list[int]], transition_scale: float
    ) -> tuple[kaldifst.StdVectorFst, list[int]]:
        """H without self loops, for phone windows as compose_context lists them (Kaldi's make-h-transducer).

        Returns:
            The transducer from transition ids to windows, and its disambiguation symbols.
        """
        config = khg.HTransducerConfig()
        config.transition_scale = transition_scale
        fst, disambiguation = khg.get_h_transducer(windows, self.context, self.transitions, config)
        return fst, disambiguation

    def add_self_loops(self, fst: kaldifst.StdVectorFst, scale: float) -> kaldifst.StdVectorFst:
        """Add the self loops of all states to a graph over transition ids (Kaldi's add-self-loops)."""
        return khg.add_self_loops(
            self_loop_scale=scale, disambig_syms=[], reorder=True, trans_model=self.transitions, ifst=fst
        )
