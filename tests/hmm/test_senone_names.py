from asr_kd.hmm import GmmHmm
from asr_kd.hmm.senone_names import senone_names
from tests.hmm.toy import Toy


def test_names_say_phone_state_and_context(toy: Toy, toy_model: GmmHmm) -> None:
    names = senone_names(toy_model.definition)
    assert len(names) == toy_model.senones
    for name, phone in zip(names, toy_model.senone_phones(), strict=True):
        centre, sides = name.split(" ", 1)
        assert phone in {one.rsplit(".", 1)[0] for one in centre.split("/")}
        left, right = sides.split(" _ ")
        assert left.startswith("[") and left.endswith("]") and right.startswith("[") and right.endswith("]")
    assert len(set(names)) > len(names) / 2
