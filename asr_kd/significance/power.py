"""What a test set can show, and when its tests should not be believed."""

from scipy.special import stdtrit

LEVEL = 0.05
POWER = 0.8
# Fewer than these, and the approximations behind the statistics are poor: rules of thumb, not laws.
FEW_SPEAKERS = 20
FEW_UTTERANCES = 50
FEW_SEGMENTS = 50


def detectable_difference(
    standard_error: float, units: int, level: float = LEVEL, power: float = POWER
) -> float:
    """The smallest true difference that a paired test of this size finds with probability `power`.

    ``(t(1 - level / 2) + t(power)) * standard error``, the usual formula of a paired two-sided test (e.g.
    Lachin 1981); smaller differences between two systems are mostly missed on such a test set.

    Args:
        standard_error: of the difference.
        units: how many units it was estimated from.
        level: of the two-sided test.
        power: wanted.
    """
    freedom = max(units - 1, 1)
    return float((stdtrit(freedom, 1 - level / 2) + stdtrit(freedom, power)) * standard_error)


def cautions(utterances: int, speakers: int | None, segments: int | None = None) -> list[str]:
    """Why the statistics of a test set should be read with care; empty where there is no reason.

    Args:
        utterances: of the test set.
        speakers: of the test set; none: they are not known.
        segments: of the matched pairs test; none: it was not done.
    """
    found = []
    if speakers is None:
        found.append(
            "Speakers are not known: utterances are resampled, so the intervals leave out how much speakers "
            "differ and are too narrow."
        )
    elif speakers < FEW_SPEAKERS:
        found.append(
            f"Only {speakers} speakers (fewer than {FEW_SPEAKERS}): intervals by utterance and p values hold "
            "for these speakers and say little about others; intervals by speaker are rough. What is said in "
            "words takes the wider interval."
        )
    if utterances == 1:
        found.append(
            "There is but one utterance: it cannot be resampled, so there are no intervals and no tests."
        )
    elif utterances < FEW_UTTERANCES:
        found.append(
            f"Only {utterances} utterances (fewer than {FEW_UTTERANCES}): bootstrap intervals are rough."
        )
    if segments is not None and segments < FEW_SEGMENTS:
        found.append(
            f"Only {segments} segments (fewer than {FEW_SEGMENTS}): the normal distribution behind the "
            "matched pairs test is a poor approximation; trust the permutation test."
        )
    return found
