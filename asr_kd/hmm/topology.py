"""HMM topologies: left-to-right phones of three states, a silence that can dwell (as in Kaldi's recipes)."""

from collections.abc import Sequence

from asr_kd.hmm.phones import PhoneTable

PHONE_STATES = 3
SILENCE_STATES = 5


def states_of(phones: PhoneTable, phone: int) -> int:
    """The number of emitting states of a phone; each state is one pdf class, numbered from 0."""
    return SILENCE_STATES if phone == phones.silence else PHONE_STATES


def write_topology(phones: PhoneTable) -> str:
    """The topology of all phones in Kaldi's text format.

    A speech phone passes its three states from left to right, at least a frame in each. Silence begins
    in its first state and ends in its last, and moves freely among the three between them (Kaldi's
    ``gen_topo.pl``), so that it takes three frames or more.
    """
    entries = [
        _entry(phones.speech, [[(state, 0.75), (state + 1, 0.25)] for state in range(PHONE_STATES)]),
        _entry([phones.silence], _silence_transitions()),
    ]
    return "<Topology>\n" + "".join(entries) + "</Topology>\n"


def _silence_transitions() -> list[list[tuple[int, float]]]:
    last = SILENCE_STATES - 1
    first = [(state, 1 / last) for state in range(last)]
    middle = [(state, 1 / last) for state in range(1, last + 1)]
    return [first, *[middle] * (last - 1), [(last, 0.75), (last + 1, 0.25)]]


def _entry(phones: Sequence[int], transitions: list[list[tuple[int, float]]]) -> str:
    lines = [f"<TopologyEntry>\n<ForPhones> {' '.join(map(str, phones))} </ForPhones>\n"]
    for state, arcs in enumerate(transitions):
        steps = " ".join(f"<Transition> {target} {probability}" for target, probability in arcs)
        lines.append(f"<State> {state} <PdfClass> {state} {steps} </State>\n")
    lines.append(f"<State> {len(transitions)} </State>\n</TopologyEntry>\n")
    return "".join(lines)
