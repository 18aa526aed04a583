"""`Quiet`: an algorithm written into the weights of a language model with nothing beside it, so that what is absent is absent.

As `Blueprint`, but without noise and without distracting heads: a part that was not set computes zero, and what a layer was not
given is not there, but for rounding (under 1e-6). `n_free` hidden units a layer that read everything and write nowhere stand
beside those that were set, where neurons are to be told apart. A word that is not in the vocabulary is read as one of its own
("<unk>").

Cost: no pass. Reference: Lindner et al. 2023, "Tracr" (arXiv:2301.05062), for transformers as compilation targets.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.evaluate.truth.blueprint import Blueprint
from exegete.models.bare import BOS, bare_gpt2, word_tokenizer
from exegete.models.model import Model

UNKNOWN, MASK = "<unk>", "<mask>"
SHARP = 40.0  # log odds by which a head prefers what it was set to look for: what else it reads is lost in rounding


@dataclass
class Quiet(Blueprint):
    """A blueprint whose hidden units are as many as are set, `n_units` at most, and `n_free` that are not used.

    `task` "masked" gives it a mask and makes it a model that fills in blanks.
    """

    n_units: int = field(default=1, kw_only=True)
    n_free: int = field(default=0, kw_only=True)
    loud: float = field(default=1.0, kw_only=True)  # how strongly free units answer to what they read
    task: str = field(default="causal", kw_only=True)
    leak: float = 0.0

    def __post_init__(self) -> None:
        self.words = (UNKNOWN, MASK, *self.words)
        super().__post_init__()
        self.inner = max(1, self.n_units + self.n_free)
        self.up = torch.zeros(self.layers, self.width, self.inner)
        self.up_bias = torch.zeros(self.layers, self.inner)
        self.down = torch.zeros(self.layers, self.inner, self.width)

    def looks(self, layer: int, head: int, query: Tensor, key: Tensor) -> None:
        """Where <query_i, x_q> is one, a head reads the key i; everybody else reads the beginning of the text, which holds nothing."""
        self.match(layer, head, query, key, 2 * SHARP)
        self.favour(layer, head, self.axes("token", [BOS])[0], SHARP)

    def _distract(self, rng: np.random.Generator) -> None:
        """Free hidden units read everything at random, and write nowhere."""
        for i in range(self.layers):
            start = self.units.get(i, 0)
            drawn = rng.standard_normal((self.width, self.n_free)) * self.loud
            self.up[i, :, start : start + self.n_free] = torch.from_numpy(drawn).float()

    def _empty(self) -> tuple[Any, Any, str]:
        words = self.vocabulary[2:]
        module, _ = bare_gpt2(
            words, layers=self.layers, heads=self.heads, width=self.width, inner=self.inner, positions=self.n_positions,
            masked=self.task == "masked",
        )  # fmt: skip
        mask = MASK if self.task == "masked" else None
        return module, word_tokenizer(words, self.n_positions, UNKNOWN, mask), self.task

    def _named(self, model: Model, name: str) -> Model:
        model.name = f"planted/{name}"
        return model
