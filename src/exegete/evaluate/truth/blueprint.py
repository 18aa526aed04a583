"""`Blueprint`: an algorithm written into the weights of a transformer, among parts that do something else.

1. the residual is cut into named spaces: `token` and `position` (one axis a word, a place), `out` (one axis a word, read by
   the unembedding), spaces of the task, and `junk`;
2. a head is given by channels: each adds  scale * <query axis, x_q> <key axis, x_k>  to its scores, and each value axis is
   copied to a write axis; a hidden unit is a rectified sum of axes, written to axes;
3. every head and hidden unit that the algorithm leaves free is a distractor: random attention, random reading of all spaces,
   writing to `junk`, which the other distractors read and nothing else does;
4. a little noise on every weight lets everything leak everywhere;
5. the whole residual is turned by a random rotation, so that no axis is a neuron of it.

Sizes: width = heads * head width. Reference: Elhage et al. 2021, "A mathematical framework for transformer circuits";
Lindner et al. 2023 (arXiv:2301.05062).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.seed import generator
from exegete.models.bare import BOS, PAD, bare_gpt2
from exegete.models.load import load
from exegete.models.model import Model

LOGIT = 5.0  # what one unit of `out` adds to a logit
JUNK = 24  # axes that distractors write to
FREE = 12  # hidden units of distractors a feed-forward part
LEAK = 0.002  # noise on every weight, as a share of a unit matrix entry


@dataclass
class Blueprint:
    """The plain weights, before noise and rotation. Axes are rows of the identity: `axes("token", "mary")` is [1, width]."""

    words: tuple[str, ...]
    n_positions: int
    spaces: Mapping[str, int]
    layers: int = 2
    heads: int = 4
    head_width: int = 32
    seed: int = 0
    leak: float = LEAK
    used: set[tuple[int, int]] = field(default_factory=set)
    channels: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    units: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vocabulary = (BOS, PAD, *self.words)
        sizes = {"token": len(self.vocabulary), "position": self.n_positions, "out": len(self.vocabulary)}
        sizes |= dict(self.spaces) | {"junk": JUNK}
        ends = np.cumsum(list(sizes.values()))
        self.where = {n: slice(int(e) - s, int(e)) for (n, s), e in zip(sizes.items(), ends)}
        need = int(ends[-1])
        self.head_width = max(self.head_width, -(-need // self.heads))
        self.width = self.heads * self.head_width
        self.inner = 4 * FREE
        w, h = self.width, self.head_width
        self.embed = torch.zeros(len(self.vocabulary), w)
        self.place = torch.zeros(self.n_positions, w)
        self.qkv = torch.zeros(self.layers, 3, self.heads, w, h)
        self.q_bias = torch.zeros(self.layers, self.heads, h)
        self.out = torch.zeros(self.layers, self.heads, h, w)
        self.up = torch.zeros(self.layers, w, self.inner)
        self.up_bias = torch.zeros(self.layers, self.inner)
        self.down = torch.zeros(self.layers, self.inner, w)
        self.embed[:, self.where["token"]] = torch.eye(len(self.vocabulary))
        self.place[:, self.where["position"]] = torch.eye(self.n_positions)

    # -- axes ----------------------------------------------------------------------------------------------------------

    def axes(self, space: str, words: Sequence[str] | Sequence[int] | None = None) -> Tensor:
        """Unit vectors [n, width] of a space: all, those of some words, or those at some places."""
        eye = torch.eye(self.width)[self.where[space]]
        if words is None:
            return eye
        return eye[[self.vocabulary.index(w) if isinstance(w, str) else w for w in words]]

    # -- parts of the algorithm ----------------------------------------------------------------------------------------

    def match(self, layer: int, head: int, query: Tensor, key: Tensor, scale: float) -> None:
        """Scores of a head rise by `scale` where <query_i, x_q> and <key_i, x_k> are both one; axes [n, width]."""
        at = self._take(layer, head, 0, len(query))
        self.qkv[layer, 0, head][:, at] = (scale * self.head_width**0.5) * query.T
        self.qkv[layer, 1, head][:, at] = key.T

    def favour(self, layer: int, head: int, key: Tensor, scale: float) -> None:
        """Scores of a head rise by `scale` at keys along `key` [width], whoever asks."""
        at = self._take(layer, head, 0, 1)
        self.q_bias[layer, head, at] = scale * self.head_width**0.5
        self.qkv[layer, 1, head][:, at] = key[:, None]

    def move(self, layer: int, head: int, read: Tensor, write: Tensor) -> None:
        """What is attended to along `read` [n, width] is added along `write` [n, width]."""
        at = self._take(layer, head, 1, len(read))
        self.qkv[layer, 2, head][:, at] = read.T
        self.out[layer, head][at] = write

    def unit(self, layer: int, read: Tensor, bias: float, write: Tensor) -> None:
        """A hidden unit: relu(<read, x> + bias) is added along `write`; both [width]."""
        i = self.units.get(layer, 0)
        self.units[layer] = i + 1
        self.up[layer, :, i], self.up_bias[layer, i], self.down[layer, i] = read, bias, write

    def _take(self, layer: int, head: int, kind: int, n: int) -> slice:
        """The next n free channels of a head, for scores (0) or values (1)."""
        self.used.add((layer, head))
        taken = list(self.channels.get((layer, head), (0, 0)))
        start = taken[kind]
        taken[kind] += n
        self.channels[layer, head] = (taken[0], taken[1])
        return slice(start, start + n)

    # -- making the model ----------------------------------------------------------------------------------------------

    def build(self, name: str) -> Model:
        """The model: distractors, noise, rotation. The same for the same seed."""
        rng = generator(self.seed, "compiled", name)
        self._distract(rng)
        turn = torch.linalg.qr(_draw(rng, self.width, self.width))[0]
        module, tokenizer, task = self._empty()
        with torch.no_grad():
            self._write(module, rng, turn)
        return self._named(load((module, tokenizer), task=task), name)

    def _empty(self) -> tuple[Any, Any, str]:
        """The module to write into, its tokenizer, and its task."""
        module, tokenizer = bare_gpt2(
            self.words, layers=self.layers, heads=self.heads, width=self.width, inner=self.inner, positions=self.n_positions
        )  # fmt: skip
        return module, tokenizer, "causal"

    def _write_head(self, module: Any, turn: Tensor, leak: Callable[[Tensor], Tensor]) -> None:
        """What reads the residual at the end."""
        head = torch.zeros(len(self.vocabulary), self.width)
        head[:, self.where["out"]] = LOGIT * torch.eye(len(self.vocabulary))
        module.lm_head.weight.copy_(leak(head) @ turn)

    def _write(self, module: Any, rng: np.random.Generator, turn: Tensor) -> None:
        """Put the weights into the module, with noise, and with the residual turned."""

        def leak(x: Tensor) -> Tensor:
            return x + self.leak * _draw(rng, *x.shape)

        module.transformer.wte.weight.copy_(leak(self.embed) @ turn)
        module.transformer.wpe.weight.copy_(leak(self.place) @ turn)
        self._write_head(module, turn, leak)
        for i, block in enumerate(module.transformer.h):
            # [kind, head, width, channel] -> [width, kind * head * channel]
            fused = leak(self.qkv[i]).permute(2, 0, 1, 3).flatten(1)
            block.attn.c_attn.weight.copy_(turn.T @ fused)
            block.attn.c_attn.bias[: self.width].copy_(self.q_bias[i].flatten())
            block.attn.c_proj.weight.copy_(leak(self.out[i]).flatten(0, 1) @ turn)
            block.mlp.c_fc.weight.copy_(turn.T @ leak(self.up[i]))
            block.mlp.c_fc.bias.copy_(self.up_bias[i])
            block.mlp.c_proj.weight.copy_(leak(self.down[i]) @ turn)

    def _named(self, model: Model, name: str) -> Model:
        model.name = f"compiled/{name}"
        return model

    def _distract(self, rng: np.random.Generator) -> None:
        """Fill free heads and hidden units with parts that read everything and write to junk."""
        w, h, junk = self.width, self.head_width, self.where["junk"]
        for i in range(self.layers):
            for j in range(self.heads):
                if (i, j) in self.used:
                    continue
                self.qkv[i, :2, j] = _draw(rng, 2, w, h) * (1.5 / h**0.25) / 2**0.5
                self.qkv[i, 2, j] = _draw(rng, w, h) / h**0.5
                self.out[i, j][:, junk] = _draw(rng, h, JUNK) / JUNK**0.5
            for u in range(self.units.get(i, 0), self.units.get(i, 0) + FREE):
                self.up[i, :, u] = _draw(rng, w)
                self.down[i, u, junk] = _draw(rng, JUNK) / (FREE * JUNK) ** 0.5


def _draw(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape)).float()
