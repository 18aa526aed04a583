"""Heads whose values say which key they come from, and heads whose values are all the same.

Attention is random. What a head of the first kind looks at can be told from what it hands on, so all of its attention is
effective; a head of the second kind hands on the same whatever it looks at, so only the sum of its weights is: of a row of n
weights a, the share 1 / (n |a|^2). Which heads are which is dealt anew for every seed; there is no noise, as noise would make
all values differ. Reference: Brunner et al. 2020 (arXiv:1908.04211), sec. 3.
"""

from dataclasses import dataclass
from random import Random

import torch

from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.model import Model

LETTERS = tuple("abcdefghij")
HEADS, LENGTH = 4, 6


@dataclass(frozen=True)
class Values:
    """The model, and which of its heads tell their keys apart [head]."""

    model: Model
    telling: tuple[bool, ...]

    def texts(self, n: int, seed: int = 0) -> tuple[str, ...]:
        """`n` texts of different letters."""
        random = Random(f"values-{seed}")
        return tuple(" ".join(random.sample(LETTERS, LENGTH)) for _ in range(n))


def make(seed: int = 0) -> Values:
    """The model of one layer whose heads are dealt by `seed`."""
    random = Random(f"values {seed}")
    telling = [True, True, False, False]
    random.shuffle(telling)
    b = Blueprint(LETTERS, n_positions=LENGTH + 2, spaces={}, layers=1, heads=HEADS, seed=seed, leak=0.0)
    tokens, junk = b.axes("token"), b.axes("junk")
    draw = torch.Generator().manual_seed(seed)
    for h, apart in enumerate(telling):
        keys = torch.randn(3, len(b.vocabulary), generator=draw) @ tokens
        b.match(0, h, torch.randn(3, len(b.vocabulary), generator=draw) @ tokens, keys, 1.5)
        b.move(0, h, tokens if apart else tokens.sum(0)[None], junk[: len(tokens)] if apart else junk[:1])
    return Values(b.build(f"values {seed}"), tuple(telling))
