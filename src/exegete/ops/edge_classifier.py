"""The edge classifier: one or two stretches of tokens, at all layers at once, to one class; many of them trained together.

1. scalar mix: h = gamma * sum_l softmax(a)_l h_l over the layers that a classifier may read;
2. each stretch's tokens are projected, and pooled by attention: softmax over its tokens of one learned score a token;
3. the pooled stretches, side by side, go through a hidden layer to one logit a class; each class is a yes or no of its own.

Classifiers (layer sets x label sets x seeds) see the same minibatches and are independent otherwise. Cost: `n_steps` products
[classifier, batch * stretch * token, width] x [width, project]. Shapes: values [layer, token, width]; where [row, stretch,
most] token indices, -1 where a stretch is shorter; y [classifier, row]; allowed [classifier, layer].
Reference: Tenney et al. 2019b, section 3.1; Peters et al. 2018, eq. 1 (scalar mix).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_FASTER = 4.0  # the mix is one number a layer behind a softmax: at the rate of the rest it hardly leaves the even mix


@dataclass(frozen=True)
class Sizes:
    """Sizes and training of the classifiers."""

    project: int = 32
    hidden: int = 64
    n_steps: int = 600
    batch: int = 64
    rate: float = 5e-3


def stretches(offsets: np.ndarray, n_spans: int) -> np.ndarray:
    """Token indices [row, stretch, most] from `offsets` of stretches that stand one after another; -1 beyond their end."""
    lengths = np.diff(offsets)
    most = int(lengths.max())
    where = offsets[:-1, None] + np.arange(most)
    where[np.arange(most) >= lengths[:, None]] = -1
    return where.reshape(-1, n_spans, most)


class EdgeClassifiers:
    """`P` classifiers with parameters of their own: `mix` [P, layer] before the softmax, and the rest."""

    def __init__(
        self, allowed: Tensor, width: int, n_spans: int, n_classes: int, sizes: Sizes, seeds: list[int]
    ) -> None:
        n, n_layers = allowed.shape

        def drawn(*shape: int, names: int) -> Tensor:
            draws = [torch.Generator().manual_seed(s * 8 + names) for s in seeds]
            return torch.stack([torch.randn(*shape, generator=g) / shape[-2] ** 0.5 for g in draws])

        flat = n_spans * sizes.project
        self.allowed = allowed
        self.mix = torch.zeros(n, n_layers)
        self.gamma = torch.ones(n, 1, 1)
        self.project = drawn(n_spans, width, sizes.project, names=0)
        self.score = drawn(n_spans, sizes.project, 1, names=1)
        self.hidden = drawn(flat, sizes.hidden, names=2)
        self.hidden_bias = torch.zeros(n, 1, sizes.hidden)
        self.out = drawn(sizes.hidden, n_classes, names=3)
        self.out_bias = torch.zeros(n, 1, n_classes)
        for p in self.parameters:
            p.requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """What is learned."""
        return [
            self.mix, self.gamma, self.project, self.score, self.hidden, self.hidden_bias, self.out, self.out_bias
        ]  # fmt: skip

    @property
    def weights(self) -> Tensor:
        """How much of each layer is mixed [P, layer]; sums to one."""
        return self.mix.masked_fill(~self.allowed, -torch.inf).softmax(1)

    def __call__(self, values: Tensor, where: Tensor) -> Tensor:
        """Logits [P, row, class]."""
        rows, spans, most = where.shape
        tokens = values[:, where.clamp(min=0).flatten()]
        mixed = self.gamma * torch.einsum("pl,lnd->pnd", self.weights, tokens)
        mixed = mixed.view(len(self.mix), rows, spans, most, -1)
        low = torch.einsum("prsmd,psdk->prsmk", mixed, self.project)
        if most > 1:
            score = torch.einsum("prsmk,pskj->prsmj", low, self.score)[..., 0]
            share = score.masked_fill(where < 0, -torch.inf).softmax(-1)
            pooled = (share[..., None] * low).sum(3)
        else:
            pooled = low[:, :, :, 0]
        hidden = torch.tanh(pooled.flatten(2) @ self.hidden + self.hidden_bias)
        return hidden @ self.out + self.out_bias


def train(
    values: Tensor, where: Tensor, y: Tensor, allowed: Tensor, n_classes: int, sizes: Sizes, seeds: list[int]
) -> EdgeClassifiers:
    """Classifiers fitted to all given rows; `seeds` [classifier] say where each starts, the first the order of rows."""
    found = EdgeClassifiers(allowed, values.shape[2], where.shape[1], n_classes, sizes, seeds)
    draw = torch.Generator().manual_seed(seeds[0])
    hot = F.one_hot(y, n_classes).float()
    with torch.enable_grad():
        mix, rest = found.parameters[:2], found.parameters[2:]
        groups = [
            {"params": mix, "lr": sizes.rate * _FASTER, "weight_decay": 0.0},
            {"params": rest, "lr": sizes.rate, "weight_decay": 1e-2},
        ]
        optimiser = torch.optim.AdamW(groups)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, sizes.n_steps)
        for _ in range(sizes.n_steps):
            rows = torch.randint(len(where), (min(sizes.batch, len(where)),), generator=draw)
            logits = found(values, where[rows])
            loss = F.binary_cross_entropy_with_logits(logits, hot[:, rows], reduction="none")
            optimiser.zero_grad()
            loss.sum(2).mean(1).sum().backward()
            optimiser.step()
            plan.step()
    return found


def predicted(classifiers: EdgeClassifiers, values: Tensor, where: Tensor) -> np.ndarray:
    """Logits [classifier, row, class] of rows, a thousand at a time."""
    with torch.no_grad():
        parts = [classifiers(values, where[i : i + 1000]) for i in range(0, len(where), 1000)]
    return torch.cat(parts, 1).double().numpy()
