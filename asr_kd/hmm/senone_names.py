"""Senones in phonetic terms: phone, state, and the phones that may stand beside it."""

from collections import defaultdict
from collections.abc import Iterable

from asr_kd.hmm.definition import HmmDefinition, KaldiHmm

EDGE = "#"  # beyond the first or last phone of an utterance
_MOST_NAMED = 8


def senone_names(definition: HmmDefinition) -> list[str]:
    """A name for every senone, e.g. ``AH.1 [B D G] _ [any]``.

    The tree is asked for every phone, state, left and right phone; of a side on which more than half of the
    phones fit, those are named that do not.
    """
    hmm, names = KaldiHmm(definition), (EDGE, *definition.phones.names)
    centre: dict[int, set[str]] = defaultdict(set)
    sides: tuple[dict[int, set[int]], dict[int, set[int]]] = (defaultdict(set), defaultdict(set))
    states = {(int(phone), int(state)) for phone, state, _ in hmm.owner_of_transition[1:]}
    wide = hmm.context.context_width > 1
    for phone, state in sorted(states):
        for left in range(len(names)) if wide else (0,):
            for right in range(len(names)) if wide else (0,):
                known, pdf = hmm.context.compute([left, phone, right] if wide else [phone], state)
                if known:
                    centre[pdf].add(f"{names[phone]}.{state}")
                    sides[0][pdf].add(left)
                    sides[1][pdf].add(right)
    found = []
    for pdf in range(hmm.pdfs):
        contexts = [_side(side[pdf], names) if wide else "any" for side in sides]
        found.append(f"{'/'.join(sorted(centre[pdf]))} [{contexts[0]}] _ [{contexts[1]}]")
    return found


def _side(phones: Iterable[int], names: tuple[str, ...]) -> str:
    inside = sorted(names[phone] for phone in phones)
    outside = sorted(set(names) - set(inside))
    if not outside:
        return "any"
    return _listed(inside) if len(inside) <= len(outside) else f"not {_listed(outside)}"


def _listed(phones: list[str]) -> str:
    more = len(phones) - _MOST_NAMED
    return " ".join(phones[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
