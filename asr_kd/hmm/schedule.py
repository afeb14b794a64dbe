"""How often training goes through a corpus, and what it does on the way."""

from collections.abc import Container
from dataclasses import dataclass

from asr_kd.config.schema import GmmConfig

# Mixtures grow over this share of the passes, as in Kaldi's recipes; the rest settles them.
GROWING_SHARE = 0.7
# Monophones have few parameters: in a larger corpus they learn from utterances of an hour, evenly spread.
MONOPHONE_FRAMES = 360_000
# Triphone passes after which the features are turned anew, early, before mixtures grow large (as in Kaldi).
MLLT_PASSES = frozenset({2, 4, 6, 12})


@dataclass(frozen=True)
class Passes:
    """How one model is trained.

    Attributes:
        name: of the model, for messages and random numbers.
        passes: over the corpus.
        gaussians: that the mixtures grow to.
        realigned: passes before which alignments are renewed.
        turned: passes after which the features are (MLLT).
        stride: every so manieth utterance is used.
    """

    name: str
    passes: int
    gaussians: int
    realigned: Container[int]
    turned: Container[int] = ()
    stride: int = 1

    def target(self, initial: int, number: int) -> int:
        """The Gaussians that there should be after pass `number`, grown from `initial`."""
        growing = max(1, round(GROWING_SHARE * self.passes))
        return initial + round((self.gaussians - initial) * min(1.0, (number + 1) / growing))

    @property
    def alignments(self) -> int:
        """How often alignments are renewed."""
        return sum(number in self.realigned for number in range(self.passes))

    @property
    def turns(self) -> int:
        """How often the features are turned; the last pass leaves them."""
        return sum(number in self.turned for number in range(self.passes - 1))


def monophones(config: GmmConfig, frames: int) -> Passes:
    """The first model, on a corpus of so many frames."""
    passes, stride = config.monophone_passes, max(1, round(frames / MONOPHONE_FRAMES))
    realigned = {*range(1, 10), *range(10, passes, 3)}
    return Passes("monophones", passes, config.monophone_gaussians, realigned, stride=stride)


def triphones(config: GmmConfig) -> Passes:
    """The second, on derivatives."""
    passes = config.triphone_passes
    return Passes("triphones", passes, config.gaussians, range(4, passes, 4))


def lda_triphones(config: GmmConfig) -> Passes:
    """The third, on LDA and MLLT."""
    passes = config.triphone_passes
    return Passes("LDA triphones", passes, config.gaussians, range(10, passes, 10), MLLT_PASSES)
