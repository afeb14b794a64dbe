from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from asr_kd.scoring.transcripts import read_transcripts
from asr_kd.scoring.wer import align_words
from asr_kd.significance.matched_pairs import mapsswe, segment_errors

NIST = Path(__file__).parent / "nist"


def slots(reference: dict[str, str], hypothesis: dict[str, str]) -> list[np.ndarray]:
    words = [{name: text.split() for name, text in texts.items()} for texts in (reference, hypothesis)]
    return [alignment.slots() for alignment in align_words(*words).values()]


def test_published_segments() -> None:
    """The example of NIST's explanation, also in Jurafsky and Martin, "Speech and language processing"."""
    reference = {"u": "it was the best of times it was the worst of times it was"}
    first = {"u": "its the best of times it is the worst of times or it was"}
    second = {"u": "it was the best times it won the test of times it was"}
    found = segment_errors(slots(reference, first), slots(reference, second))
    np.testing.assert_array_equal(found, [[2, 0], [0, 1], [1, 2], [1, 0]])


@pytest.mark.parametrize(
    ("pair", "segments", "mean", "z"),
    [
        (("first", "second"), 68, 0.206, 1.749),
        (("first", "third"), 101, -0.277, -2.729),
        (("second", "third"), 91, -0.462, -4.437),
    ],
)
def test_agrees_with_sctk(pair: tuple[str, str], segments: int, mean: float, z: float) -> None:
    """NIST's own program: ``sc_stats -p -t mapsswe -v`` of SCTK 2.4.10 on alignments of its sclite."""
    reference = read_transcripts(NIST / "reference.txt")
    aligned = [align_words(reference, read_transcripts(NIST / f"{name}.txt")) for name in pair]
    errors = segment_errors(*([alignment.slots() for alignment in one.values()] for one in aligned))
    found = mapsswe(errors)
    assert (found.segments, round(found.mean, 3), round(found.z, 3)) == (segments, mean, z)


def test_statistic_agrees_with_scipy() -> None:
    errors = np.random.default_rng(0).poisson(1.2, (80, 2))
    found = mapsswe(errors)
    assert found.z == pytest.approx(stats.ttest_rel(errors[:, 0], errors[:, 1]).statistic)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))


def segments_in_a_loop(first: list[np.ndarray], second: list[np.ndarray]) -> list[list[int]]:
    """Word by word, as the definition says it."""
    found = []
    for one, other in zip(first, second, strict=True):
        open_segment: list[int] | None = None
        right = 0
        for place, errors in enumerate(zip(one, other, strict=True)):
            if any(errors):
                open_segment = [a + b for a, b in zip(open_segment or [0, 0], errors, strict=True)]
                right = 0
            elif place % 2:
                right += 1
                if right >= 2 and open_segment:
                    found.append(open_segment)
                    open_segment = None
        if open_segment:
            found.append(open_segment)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_against_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 9, 40)
    first, second = ([random.binomial(1, 0.15, 2 * n + 1) for n in lengths] for _ in range(2))
    np.testing.assert_array_equal(segment_errors(first, second), segments_in_a_loop(first, second))


def test_nothing_to_compare() -> None:
    assert segment_errors([], []).shape == (0, 2)
    right = [np.zeros(5, dtype=np.int64)]
    found = mapsswe(segment_errors(right, right))
    assert (found.segments, found.z, found.p) == (0, 0.0, 1.0)


def test_exchanging_the_systems_turns_the_sign() -> None:
    errors = np.random.default_rng(1).poisson(1.0, (50, 2))
    one, other = mapsswe(errors), mapsswe(errors[:, ::-1])
    assert (one.z, one.p) == pytest.approx((-other.z, other.p))
