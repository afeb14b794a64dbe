"""The learning rate over a training."""

import math

from asr_kd.config.schema import OptimiserConfig


def learning_rate(fraction: float, settings: OptimiserConfig) -> float:
    """Linear warm-up, then half a cosine down to the final rate (Loshchilov and Hutter 2017).

    Args:
        fraction: of the training that is over, 0 to 1.
        settings: peak, final rate and the fraction of the warm-up.
    """
    peak, final, warmup = settings.peak_learning_rate, settings.final_learning_rate, settings.warmup_fraction
    if fraction < warmup:
        return peak * fraction / warmup
    fall = (fraction - warmup) / (1.0 - warmup)
    return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * fall))
