"""Known features: a model in whose residual each word is a sum of few out of more directions than there are dimensions.

    embeddings   each word is the sum of `AT_ONCE` of `N_FEATURES` random directions in `WIDTH` dimensions, with random weights
    0.mlp        a hidden unit a direction fires where it is there, and adds a direction of its own to the residual

Nothing else is in the residual, and no head reads anything. So the dictionary is known: of what enters the feed-forward part
(`read_directions`), and of what it adds (`written_directions`); words hold features that are known (`held`).

Cost: no pass. References: Elhage et al. 2022 (superposition); Sharkey et al. 2022 (mean max cosine with a known dictionary).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from exegete.core.seed import generator
from exegete.models.bare import bare_gpt2
from exegete.models.load import load
from exegete.models.model import Model

N_FEATURES, WIDTH, AT_ONCE, N_WORDS, LENGTH = 36, 24, 2, 600, 12
THRESHOLD = (
    0.35  # what a direction must have in a word before its unit fires: above what others leave of theirs
)


@dataclass(frozen=True)
class Features:
    """The model, both sets of directions [feature, width], and the features of every word [word, feature] (zero: not held)."""

    model: Model
    words: tuple[str, ...]
    read_directions: np.ndarray
    written_directions: np.ndarray
    held: np.ndarray

    def texts(self, n: int, seed: int) -> list[str]:
        """Texts of words at random."""
        rng = generator(seed, "feature texts")
        return [" ".join(self.words[i] for i in rng.integers(0, N_WORDS, LENGTH)) for _ in range(n)]


@cache
def superposed(seed: int = 0) -> Features:
    """The model of a seed."""
    rng = generator(seed, "known features")
    read, written = _spread(rng), _spread(rng)
    held = np.zeros((N_WORDS, N_FEATURES))
    for row in held:
        row[rng.choice(N_FEATURES, AT_ONCE, replace=False)] = rng.uniform(0.7, 1.3, AT_ONCE)
    words = tuple(f"w{i}" for i in range(N_WORDS))
    module: Any
    module, tokenizer = bare_gpt2(
        words, layers=1, heads=2, width=WIDTH, inner=N_FEATURES, positions=LENGTH + 4
    )
    with torch.no_grad():
        module.transformer.wte.weight[2:] = torch.from_numpy(held @ read).float()
        block = module.transformer.h[0].mlp
        block.c_fc.weight.copy_(torch.from_numpy(read.T).float())
        block.c_fc.bias.fill_(-THRESHOLD)
        block.c_proj.weight.copy_(torch.from_numpy(written).float())
        module.lm_head.weight.copy_(torch.from_numpy(rng.normal(size=(N_WORDS + 2, WIDTH))).float())
    model = load((module, tokenizer), task="causal")
    model.name = f"planted/known features {seed}"
    return Features(model, words, read, written, held)


def _spread(rng: np.random.Generator, n_steps: int = 200) -> np.ndarray:
    """Directions [feature, width] of length one, pushed apart from random starts: no two are near to each other."""
    x = rng.normal(size=(N_FEATURES, WIDTH))
    for _ in range(n_steps):
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        near = x @ x.T - np.eye(N_FEATURES)
        x -= 0.1 * (near**3) @ x
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mean_max_cosine(known: np.ndarray, found: np.ndarray) -> float:
    """Of every known direction the |cosine| with the nearest of those found, mean; rows are directions."""
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (known, found)]
    return float(np.abs(unit[0] @ unit[1].T).max(1).mean())


def random_cosine(known: np.ndarray, n: int, seed: int) -> float:
    """The same of as many random directions, mean of ten draws."""
    rng = generator(seed, "random dictionaries")
    return float(np.mean([mean_max_cosine(known, rng.normal(size=(n, known.shape[1]))) for _ in range(10)]))
