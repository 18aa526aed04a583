"""A dependency parser that is a probe: bilinear scores of heads and of relations from frozen vectors of words.

    arc(h, w)     = <A x_h, B x_w> + u . x_h          for every other word h of the sentence
    root(w)       = v . x_w + c                       w is the root
    label(h, w)   = (C x_h)' U_l (D x_w) + E_l C x_h + F_l D x_w

1. dimensions are divided by their spread on the training sentences;
2. minimise the cross-entropy of the head of every word (among the other words and the root) and of the label of every gold arc, by
   Adam on batches of sentences of like length;
3. once an epoch the loss on development sentences is taken; when it no longer falls the rate falls to a third, and after
   `patience` such epochs in a row the best weights are kept.

Shapes: x [word, width] a sentence; heads [word], -1 the root; labels [word], -1 where none is asked (the root's is known); arcs
[head, word]. Cost: a step is 4 products of the words with matrices of the rank.
Reference: Dozat & Manning 2017, "Deep Biaffine Attention for Neural Dependency Parsing", eq. 4-6 (without the layers in front:
a probe should not compute what it looks for); Hewitt & Liang 2019, sec. 3 (bilinear probes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from exegete.ops.tree_probe import FEWEST_STEPS, Training

LABEL_RANK = 32


@dataclass(frozen=True)
class _Batch:
    """x [sentence, word, width]; head [sentence, word] as 0 the root, else 1 + its place, -1 where none is asked; label; real."""

    x: Tensor
    head: Tensor
    label: Tensor
    real: Tensor
    n: int


@dataclass(frozen=True)
class Biaffine:
    """A trained probe; weights by the names of the docstring, applied to x / spread."""

    spread: np.ndarray
    weights: dict[str, Tensor]

    def arcs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of heads [head, word] and of being the root [word]."""
        with torch.no_grad():
            found = _arcs(self._in(x), self.weights)[0].double().numpy()
        return found[1:], found[0]

    def labels(self, x: np.ndarray, heads: np.ndarray) -> np.ndarray:
        """The best label of every word under its head [word]; -1 for the root."""
        with torch.no_grad():
            at = torch.from_numpy(np.maximum(heads, 0))[None]
            found = _labels(self._in(x), at, self.weights)[0].argmax(-1).numpy()
        return np.where(heads < 0, -1, found)

    def _in(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy((x / self.spread).astype(np.float32))[None]


def fit(
    x: Sequence[np.ndarray],
    heads: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    train: np.ndarray,
    dev: np.ndarray,
    how: Training,
    rng: np.random.Generator,
) -> Biaffine:
    """The probe trained on sentences `train` (indices), stopped on `dev`."""
    spread = np.concatenate([x[i] for i in train]).std(0).astype(np.float64)
    spread = np.where(spread > 1e-6 * spread.max(), spread, 1e6 * max(spread.max(), 1.0))
    shown = [
        _batches([x[i] / spread for i in part], [heads[i] for i in part], [labels[i] for i in part], size)
        for part, size in ((train, how.batch), (dev, 64))
    ]
    n_labels = 1 + max(int(np.max(v, initial=0)) for v in labels)
    weights = _first(x[0].shape[1], how.rank, n_labels, rng)
    return Biaffine(spread, _descend(weights, shown[0], shown[1], how, rng))


def _batches(
    x: Sequence[np.ndarray], heads: Sequence[np.ndarray], labels: Sequence[np.ndarray], size: int
) -> list[_Batch]:
    order = sorted(range(len(x)), key=lambda i: len(x[i]))
    found = []
    for start in range(0, len(order), size):
        members = order[start : start + size]
        shape = (len(members), len(x[members[-1]]))
        value = np.zeros((*shape, x[0].shape[1]), dtype=np.float32)
        head, label, real = np.full(shape, -1), np.full(shape, -1), np.zeros(shape, dtype=bool)
        for k, i in enumerate(members):
            n = len(x[i])
            value[k, :n], head[k, :n], label[k, :n], real[k, :n] = x[i], heads[i] + 1, labels[i], True
        found.append(_Batch(*map(torch.from_numpy, (value, head, label, real)), len(members)))  # type: ignore[arg-type]
    return found


def _first(width: int, rank: int, n_labels: int, rng: np.random.Generator) -> dict[str, Tensor]:
    small = min(LABEL_RANK, rank)
    shapes = {
        "A": (width, rank), "B": (width, rank), "u": (width,), "v": (width,), "c": (1,), "C": (width, small), "D": (width, small),
        "U": (n_labels, small, small), "E": (small, n_labels), "F": (small, n_labels),
    }  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        size = {"u": 0.0, "v": 0.0, "c": 0.0, "U": 1 / small}.get(name, shape[0] ** -0.5)
        found[name] = torch.from_numpy((rng.normal(size=shape) * size).astype(np.float32))
    return found


def _arcs(x: Tensor, w: dict[str, Tensor], real: Tensor | None = None) -> Tensor:
    """Scores [sentence, 1 + head, word], the root first; a word is no head of itself, and padding is none."""
    n = x.shape[1]
    score = (x @ w["A"]) @ (x @ w["B"]).transpose(1, 2) / w["A"].shape[1] ** 0.5 + (x @ w["u"])[:, :, None]
    closed = torch.eye(n, dtype=torch.bool)[None]
    if real is not None:
        closed = closed | ~real[:, :, None]
    score = score.masked_fill(closed, -1e9)
    return torch.cat([(x @ w["v"] + w["c"])[:, None], score], 1)


def _labels(x: Tensor, head: Tensor, w: dict[str, Tensor]) -> Tensor:
    """Scores [sentence, word, label] of every word under `head` [sentence, word]."""
    above = x @ w["C"]
    above = above.gather(1, head[..., None].expand(-1, -1, above.shape[-1]))
    below = x @ w["D"]
    bilinear = torch.einsum("bnp,lpq,bnq->bnl", above, w["U"], below)
    return bilinear + above @ w["E"] + below @ w["F"]


def _loss(batch: _Batch, w: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of heads, and of labels where some are asked."""
    scores = _arcs(batch.x, w, batch.real).transpose(1, 2)
    asked = batch.head >= 0
    total = cross_entropy(scores[asked], batch.head[asked])
    named = (batch.label >= 0) & (batch.head > 0)
    if named.any():
        under = _labels(batch.x, (batch.head - 1).clamp(min=0), w)
        total = total + cross_entropy(under[named], batch.label[named])
    return total


def _mean_loss(batches: Sequence[_Batch], w: dict[str, Tensor]) -> float:
    with torch.no_grad():
        return sum(float(_loss(b, w)) * b.n for b in batches) / sum(b.n for b in batches)


def _descend(
    first: dict[str, Tensor],
    train: Sequence[_Batch],
    dev: Sequence[_Batch],
    how: Training,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Adam; the weights with the least loss on the development sentences."""
    weights = {k: v.clone().requires_grad_() for k, v in first.items()}
    best, least = {k: v.clone() for k, v in first.items()}, _mean_loss(dev, weights)
    optimizer = torch.optim.Adam(weights.values(), lr=how.rate)
    epoch, waited, step = max(1, -(-FEWEST_STEPS // len(train))), 0, 0
    while step < how.n_steps and waited < how.patience:
        order = np.concatenate([rng.permutation(len(train)) for _ in range(epoch)])[: how.n_steps - step]
        for i in order:
            with torch.enable_grad():
                found = torch.autograd.grad(
                    _loss(train[i], weights), list(weights.values()), allow_unused=True
                )
            for w, g in zip(weights.values(), found):
                w.grad = torch.zeros_like(w) if g is None else g
            optimizer.step()
        step += len(order)
        loss = _mean_loss(dev, weights)
        if loss < least * (1 - 1e-3):
            best, least, waited = {k: v.detach().clone() for k, v in weights.items()}, loss, 0
        else:
            waited += 1
            for group in optimizer.param_groups:
                group["lr"] /= 3
    return best
