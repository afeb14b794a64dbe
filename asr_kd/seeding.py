"""Random numbers that depend on the recipe's seed and on the name of what is drawn, and on nothing else."""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named use, e.g. ``derive_seed(config.seed, "train", "member", 3)``.

    Because the name and not the order of calls decides, stages and workers may run in any order.
    """
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one named use."""
    return np.random.default_rng(derive_seed(seed, *names))
