"""Probes that read a tree off vectors: a linear image of the words in which squared distance is distance in the tree.

    distance     d(i, j) = |B h_i - B h_j|^2 against the number of edges between two words
    depth        d(i)    = |B h_i|^2         against the number of edges to the root
    hyperbolic   d(i, j) = the squared distance of exp_0(Q P h_i) and exp_0(Q P h_j) in the Poincare ball (`ops.poincare`)

1. dimensions are divided by their spread on the training sentences (a linear map too, and the probe is linear), and the first
   weights are scaled so that the mean prediction is the mean of the tree;
2. loss of a sentence: the sum of |gold - predicted| over all pairs by n^2 (depth: over words by n); Adam on batches of
   sentences of like length;
3. once an epoch the loss on development sentences is taken; when it no longer falls the rate falls to a third, and after
   `patience` such epochs in a row the best weights are kept.

Shapes: one array [word, width] a sentence; gold [word, word] or [word]. Cost: 3 products of the words with B a step.
Reference: Hewitt & Manning 2019, "A Structural Probe for Finding Syntax in Word Representations", eq. 1-3; Chen et al. 2021,
"Probing BERT in Hyperbolic Spaces", sec. 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from exegete.ops.poincare import ball_distances, expmap0

Kind = Literal["distance", "depth", "hyperbolic"]
FEWEST_STEPS = 10  # a development loss is taken no more often than that


@dataclass(frozen=True)
class Training:
    """How a probe is trained: its rank, most steps, sentences a step, the first rate, epochs without gain that are borne."""

    rank: int = 64
    n_steps: int = 2000
    batch: int = 20
    rate: float = 2e-3
    patience: int = 3


@dataclass(frozen=True)
class TreeProbe:
    """A trained probe: `weights`, applied one after another to a vector that was divided by `spread` [width]."""

    kind: Kind
    spread: np.ndarray
    weights: tuple[np.ndarray, ...]

    @property
    def image(self) -> np.ndarray:
        """The whole linear map [width, rank]."""
        out = self.weights[0]
        for w in self.weights[1:]:
            out = out @ w
        return out / self.spread[:, None]

    def predict(self, x: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Distances [word, word] or depths [word] of every sentence."""
        found: list[np.ndarray] = [np.zeros(0)] * len(x)
        with torch.no_grad():
            for batch in _batches(x, None, 64, self.spread):
                out = _predicted(batch.x, self._tensors(batch.x), self.kind).double().numpy()
                for i, row in zip(batch.members, out):
                    n = len(x[i])
                    found[i] = row[:n] if self.kind == "depth" else row[:n, :n]
        return found

    def _tensors(self, like: Tensor) -> list[Tensor]:
        return [torch.from_numpy(w).to(like.dtype) for w in self.weights]


def fit(
    x: Sequence[np.ndarray],
    gold: Sequence[np.ndarray],
    train: np.ndarray,
    dev: np.ndarray,
    kind: Kind,
    how: Training,
    rng: np.random.Generator,
) -> TreeProbe:
    """The probe trained on sentences `train` (indices), stopped on `dev`."""
    spread = _spread([x[i] for i in train])
    shown = [_batches([x[i] for i in p], [gold[i] for i in p], n, spread, kind == "hyperbolic") for p, n in ((train, how.batch), (dev, 64))]  # fmt: skip
    weights = _first(shown[0][0].x.shape[-1], how.rank, kind, rng)
    weights = _scaled(weights, shown[0], kind)
    best = _descend(weights, shown[0], shown[1], kind, how, rng)
    return TreeProbe(kind, spread, tuple(w.double().numpy() for w in best))


def random_probe(x: Sequence[np.ndarray], kind: Kind, rank: int, rng: np.random.Generator) -> TreeProbe:
    """A probe that nothing was trained of: a random projection of vectors divided by their spread."""
    spread = _spread(x)
    weights = _first(x[0].shape[1], rank, kind, rng)
    return TreeProbe(kind, spread, tuple(w.double().numpy() for w in weights))


def _spread(x: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation of each dimension [width]; so large that it counts for nothing where it never moves."""
    found = np.concatenate(list(x)).std(0).astype(np.float64)
    return np.where(found > 1e-6 * found.max(), found, 1e6 * max(found.max(), 1.0))


@dataclass(frozen=True)
class _Batch:
    """Sentences padded to one length: x [sentence, word, width], gold [sentence, word(, word)], share of each entry in the loss."""

    members: list[int]
    x: Tensor
    gold: Tensor
    share: Tensor


def _batches(
    x: Sequence[np.ndarray],
    gold: Sequence[np.ndarray] | None,
    size: int,
    spread: np.ndarray,
    double: bool = False,
) -> list[_Batch]:
    """Batches of sentences of like length."""
    order = sorted(range(len(x)), key=lambda i: len(x[i]))
    found = []
    for start in range(0, len(order), size):
        members = order[start : start + size]
        longest = len(x[members[-1]])
        value = np.zeros((len(members), longest, x[0].shape[1]), dtype=np.float64 if double else np.float32)
        for row, i in zip(value, members):
            row[: len(x[i])] = x[i] / spread
        shape = (len(members), *(longest,) * (1 if gold is None else gold[members[0]].ndim))
        want, share = np.zeros(shape, dtype=value.dtype), np.zeros(shape, dtype=value.dtype)
        for k, i in enumerate(members if gold is not None else ()):
            where = (k, *(slice(len(x[i])),) * (len(shape) - 1))
            want[where] = gold[i]  # type: ignore[index]
            share[where] = 1 / len(x[i]) ** (len(shape) - 1) / len(members)
        found.append(
            _Batch(members, torch.from_numpy(value), torch.from_numpy(want), torch.from_numpy(share))
        )
    return found


def _first(width: int, rank: int, kind: Kind, rng: np.random.Generator) -> list[Tensor]:
    """Weights before training."""
    shapes = [(width, rank), (rank, rank)] if kind == "hyperbolic" else [(width, rank)]
    dtype = torch.float64 if kind == "hyperbolic" else torch.float32
    return [torch.from_numpy(rng.uniform(-0.05, 0.05, s)).to(dtype) for s in shapes]


def _scaled(weights: list[Tensor], batches: Sequence[_Batch], kind: Kind) -> list[Tensor]:
    """The weights at the scale at which the mean prediction is the mean of the gold numbers."""
    with torch.no_grad():
        flat = "distance" if kind == "hyperbolic" else kind
        middle = [batches[len(batches) // 2]]
        got = sum(float((_predicted(b.x, weights, flat) * b.share).sum()) for b in middle)
        want = sum(float((b.gold * b.share).sum()) for b in middle)
    ratio = (want / got) ** 0.5 if got > 0 and want > 0 else 1.0
    if kind == "hyperbolic":
        ratio *= 0.5  # the ball is twice as wide as the space it touches at its middle
    return [w * ratio ** (1 / len(weights)) for w in weights]


def _predicted(x: Tensor, weights: Sequence[Tensor], kind: Kind) -> Tensor:
    """Distances [sentence, word, word] or depths [sentence, word]."""
    for w in weights:
        x = x @ w
    if kind == "depth":
        return x.square().sum(-1)
    if kind == "hyperbolic":
        return ball_distances(expmap0(x)).square()
    size = x.square().sum(-1)
    return (size[:, :, None] + size[:, None, :] - 2 * x @ x.transpose(1, 2)).clamp(min=0.0)


def _loss(batch: _Batch, weights: Sequence[Tensor], kind: Kind) -> Tensor:
    return ((_predicted(batch.x, weights, kind) - batch.gold).abs() * batch.share).sum()


def _mean_loss(batches: Sequence[_Batch], weights: Sequence[Tensor], kind: Kind) -> float:
    with torch.no_grad():
        total = sum(float(_loss(b, weights, kind)) * len(b.members) for b in batches)
    return total / sum(len(b.members) for b in batches)


def _descend(
    weights: list[Tensor],
    train: Sequence[_Batch],
    dev: Sequence[_Batch],
    kind: Kind,
    how: Training,
    rng: np.random.Generator,
) -> list[Tensor]:
    """Adam; the weights with the least loss on the development sentences."""
    weights = [w.clone().requires_grad_() for w in weights]
    best, least, waited, step = [w.detach().clone() for w in weights], _mean_loss(dev, weights, kind), 0, 0
    optimizer = torch.optim.Adam(weights, lr=how.rate)
    epoch = max(1, -(-FEWEST_STEPS // len(train)))  # passes over the training sentences between two looks
    while step < how.n_steps and waited < how.patience:
        order = np.concatenate([rng.permutation(len(train)) for _ in range(epoch)])[: how.n_steps - step]
        for i in order:
            with torch.enable_grad():
                loss = _loss(train[i], weights, kind)
                found = torch.autograd.grad(loss, weights)
            for w, g in zip(weights, found):
                w.grad = g
            optimizer.step()
        step += len(order)
        loss = _mean_loss(dev, weights, kind)
        if loss < least * (1 - 1e-3):
            best, least, waited = [w.detach().clone() for w in weights], loss, 0
        else:
            waited += 1
            for group in optimizer.param_groups:
                group["lr"] /= 3
    return best
