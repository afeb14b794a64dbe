import numpy as np

from asr_kd.hmm import GmmHmm
from asr_kd.hmm.alignment import GraphCompiler, align_equally, retied
from asr_kd.hmm.definition import HmmDefinition, KaldiHmm
from asr_kd.hmm.topology import states_of
from asr_kd.hmm.tree import monophone_tree
from tests.hmm.toy import LEXICON


def _monophones(model: GmmHmm) -> KaldiHmm:
    phones = model.phones
    tree = monophone_tree({phone: states_of(phones, phone) for phone in phones.numbers})
    return KaldiHmm(HmmDefinition(phones, model.definition.topology, tree.to_bytes()))


def test_retied_paths_pass_the_same_states_with_the_pdfs_of_the_other_tree(toy_model: GmmHmm) -> None:
    before, after = _monophones(toy_model), toy_model.hmm
    graph = GraphCompiler(before, LEXICON, silence_probability=0.5).compile(["ONE", "THREE", "TWO"])
    path = align_equally(graph, 90, seed=0)
    assert path is not None
    other = retied(path, before, after)
    assert other.dtype == np.int32
    np.testing.assert_array_equal(after.owner_of_transition[other], before.owner_of_transition[path])
    # The contexts, counted out: a phone ends where state or phone falls back to another phone's state 0.
    owners = before.owner_of_transition[path]
    starts = [time for time in range(90) if time == 0 or (owners[time, 1] == 0 and owners[time - 1, 1] != 0)]
    sequence = [0, *(int(owners[time, 0]) for time in starts), 0]
    assert len(sequence) > 7
    for time in range(90):
        place = sum(start <= time for start in starts)
        known, pdf = after.context.compute(sequence[place - 1 : place + 2], int(owners[time, 1]))
        assert known and after.pdf_of_transition[other[time]] == pdf
    np.testing.assert_array_equal(retied(other, after, after), other)
