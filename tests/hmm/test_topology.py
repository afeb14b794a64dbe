import kaldi_hmm_gmm as khg

from asr_kd.hmm.phones import PhoneTable
from asr_kd.hmm.topology import states_of, write_topology


def test_kaldi_reads_it() -> None:
    phones = PhoneTable.of("ABC")
    topology = khg.HmmTopology()
    topology.read(write_topology(phones))
    topology.check()
    assert topology.phones == phones.numbers
    assert topology.get_phone_to_num_pdf_classes()[1:] == [
        states_of(phones, phone) for phone in phones.numbers
    ]
    assert [topology.min_length(phone) for phone in phones.numbers] == [3, 3, 3, 3]
