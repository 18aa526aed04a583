"""Seeds: every random draw derives from one integer and the name of what is drawn, never from global state."""

import hashlib

import numpy as np


def derive(seed: int, *names: object) -> int:
    """A 63-bit seed for the thing called `names` under `seed`; the same on every machine and in every process."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for the thing called `names` under `seed`."""
    return np.random.default_rng(derive(seed, *names))
