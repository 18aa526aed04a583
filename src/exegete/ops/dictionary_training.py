"""Training a dictionary of sparse features from batches of activations.

1. the first rows say mean and scale: activations are centred and brought to mean squared length 1, so that error is the
   share of variance that is missing and one setting of the sparsity fits every model;
2. decoder rows start as random directions of length 1, the encoder as their transpose;
3. each step: gradients in closed form (`ops.dictionary_gradients`); of the decoder's, what would change the length of a row
   is taken out; Adam; rows are brought back to length 1;
4. the rate rises at the start and falls at the end, the sparsity rises over the first fifth;
5. dead features, which were off for the last rows read, are moved, three times in the training, onto errors of badly
   explained rows; with topk they are also asked, at each step, for what the others leave over;
6. at the end the scale is folded into the weights: the dictionary reads and returns activations as they are.

Cost: ten operations a weight and row, of which topk makes two. Memory: four copies of the weights, one batch of features.
References: Bricken et al. 2023 (resampling, unit norm); Gao et al. 2024, arXiv:2406.04093 (auxiliary loss).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from exegete.ops.dictionary import Dictionary, Kind
from exegete.ops.dictionary_gradients import Stepped, Weights, gradients

SPARSITY: dict[Kind, float] = {"relu": 0.15, "topk": 0.0, "jumprelu": 0.02, "gated": 0.4}
BAND = 0.2  # width of the rectangle of jumprelu, in normalised features
FIRST = 0.3  # length of an encoder row at the start: many features add up to more than what they read
MOVES = (0.25, 0.45, 0.65)  # when dead features are moved, in shares of the training


@dataclass(frozen=True)
class Recipe:
    """How a dictionary is trained. `sparsity` None: the usual one of the kind; `k` counts for topk only."""

    kind: Kind = "topk"
    n_features: int = 1024
    k: int = 16
    sparsity: float | None = None
    n_steps: int = 1000
    rate: float = 2e-3
    seed: int = 0
    dead_after: int = 20  # batches without being on after which a feature counts as dead

    @property
    def penalty(self) -> float:
        """The sparsity coefficient."""
        return SPARSITY[self.kind] if self.sparsity is None else self.sparsity


class Trainer:
    """A dictionary that is learning. Give it batches: `step(x)` for an autoencoder, `step(x, y)` for a transcoder."""

    def __init__(self, recipe: Recipe, x: Tensor, y: Tensor | None = None) -> None:
        """`x` [row, in] and `y` [row, out] are first rows, from which mean, scale and shape are taken."""
        self.recipe, self.taken = recipe, 0
        self.draw = torch.Generator().manual_seed(recipe.seed % (1 << 63))
        self.paired = y is not None
        self.mean_in, self.scale_in = _normal(x)
        self.mean_out, self.scale_out = (self.mean_in, self.scale_in) if y is None else _normal(y)
        self.weights = _start(recipe, x, y, self.draw)
        # fused: the whole update in one reading of the memory
        self.adam = torch.optim.Adam(list(self.weights.named().values()), lr=recipe.rate, fused=True)
        self.idle = torch.zeros(recipe.n_features, dtype=torch.int64, device=x.device)
        self.history: list[tuple[float, float, float]] = []

    def step(self, x: Tensor, y: Tensor | None = None) -> None:
        """One step on rows x [row, in] (and y [row, out])."""
        w, recipe = self.weights, self.recipe
        x = (x - self.mean_in) / self.scale_in
        y = x if y is None else (y - self.mean_out) / self.scale_out
        done = self.taken / recipe.n_steps
        dead = self.idle >= recipe.dead_after
        found = gradients(w, x, y, recipe.penalty * min(1.0, done * 5), BAND, dead)
        self._learn(found, done)
        self.idle = torch.where(found.on, 0, self.idle + 1)
        self.taken += 1
        share = float((self.idle >= recipe.dead_after).float().mean())
        self.history.append((found.error, found.active, share))
        if self.taken in {int(m * recipe.n_steps) for m in MOVES}:
            self._move(x, found.left)

    def _learn(self, found: Stepped, done: float) -> None:
        w = self.weights
        along = found.gradients["decoder"]
        along.sub_((along * w.decoder).sum(1, keepdim=True) * w.decoder)
        steps = self.recipe.n_steps
        rate = (
            self.recipe.rate
            * min(1.0, (self.taken + 1) / max(1, min(100, steps // 20)))
            * min(1.0, 5 * (1 - done))
        )
        for name, tensor in w.named().items():
            tensor.grad = found.gradients[name]
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        w.decoder.div_(w.decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def _move(self, x: Tensor, left: Tensor) -> None:
        """Dead features are set on what is left over of rows that are explained badly (squared error draws the row)."""
        which = (self.idle >= self.recipe.dead_after).nonzero()[:, 0]
        if not len(which):
            return
        w = self.weights
        odds = left.square().sum(1).square().double().cpu()
        if float(odds.sum()) <= 0:
            return
        rows = torch.multinomial(odds, len(which), replacement=True, generator=self.draw).to(x.device)
        missing = -left[rows]
        w.decoder[which] = missing / missing.norm(dim=1, keepdim=True).clamp_min(1e-12)
        alive = w.encoder[self.idle < self.recipe.dead_after]
        size = float(alive.norm(dim=1).mean()) if len(alive) else 1.0
        seen = missing if not self.paired else x[rows]
        w.encoder[which] = seen / seen.norm(dim=1, keepdim=True).clamp_min(1e-12) * size
        w.bias[which] = 0.0
        if w.gain is not None:
            w.gain[which] = _start_gain(self.recipe.kind)
        if w.level is not None:
            w.level[which] = 0.0
        _forget(self.adam, w, which)
        self.idle[which] = 0

    def dictionary(self) -> Dictionary:
        """The dictionary learned so far, in the space of the activations."""
        w = self.weights
        into, out = self.scale_in, self.scale_out
        offset = w.offset * out + self.mean_out
        encoder = w.encoder.T * (out / into)
        bias = w.bias * out
        if not w.centred:
            bias = bias - self.mean_in @ encoder
        jump = w.kind == "jumprelu" and w.gain is not None
        return Dictionary(
            w.kind,
            encoder.contiguous(),
            w.decoder.clone(),
            bias,
            offset,
            threshold=w.gain.exp() * out if jump and w.gain is not None else None,
            gain=None if jump or w.gain is None else w.gain.clone(),
            level=None if w.level is None else self._shifted(w.level * out, encoder),
            k=w.k,
            centred=w.centred,
        )

    def _shifted(self, level: Tensor, encoder: Tensor) -> Tensor:
        """The level of a transcoder, whose input is not centred by its offset."""
        if self.weights.centred or self.weights.gain is None:
            return level
        return level - (self.mean_in @ encoder) * self.weights.gain.exp()


def train(batches: Iterable[Tensor | tuple[Tensor, Tensor]], recipe: Recipe) -> Trainer:
    """A trainer that has seen every batch: rows [row, in], or pairs of rows for a transcoder. At most `n_steps` are taken.

    Raises `ValueError` when there is no batch.
    """
    trainer: Trainer | None = None
    for batch in batches:
        x, y = batch if isinstance(batch, tuple) else (batch, None)
        trainer = trainer or Trainer(recipe, x, y)
        trainer.step(x, y)
        if trainer.taken >= recipe.n_steps:
            break
    if trainer is None:
        raise ValueError("no batch to train on")
    return trainer


def _forget(adam: torch.optim.Adam, w: Weights, features: Tensor) -> None:
    """Adam remembers nothing of these features."""
    for name, t in w.named().items():
        for key in ("exp_avg", "exp_avg_sq") if name != "offset" and t in adam.state else ():
            adam.state[t][key][features] = 0.0


def _normal(x: Tensor) -> tuple[Tensor, float]:
    """Mean [width] of rows, and the root of the mean squared length of what is left."""
    mean = x.mean(0)
    return mean, max(float((x - mean).square().sum(1).mean().sqrt()), 1e-12)


def _start(recipe: Recipe, x: Tensor, y: Tensor | None, draw: torch.Generator) -> Weights:
    m, out = recipe.n_features, (x if y is None else y).shape[1]
    decoder = _directions(m, out, draw)
    encoder = decoder.clone() if y is None else _directions(m, x.shape[1], draw)
    zero = torch.zeros(m)
    gate = recipe.kind in ("jumprelu", "gated")
    tensors = (
        encoder * FIRST,
        decoder,
        zero,
        torch.zeros(out),
        torch.full((m,), _start_gain(recipe.kind)) if gate else None,
        zero.clone() if recipe.kind == "gated" else None,
    )
    placed = [None if t is None else t.to(x.device, torch.float32) for t in tensors]
    k = min(recipe.k, m) if recipe.kind == "topk" else 0
    return Weights(recipe.kind, *placed, k=k, centred=y is None)  # type: ignore[arg-type]


def _start_gain(kind: Kind) -> float:
    """Where the gain starts: the logarithm of jumprelu's first threshold; 0 for gated."""
    return -2.3 if kind == "jumprelu" else 0.0


def _directions(n: int, width: int, draw: torch.Generator) -> Tensor:
    rows = torch.randn(n, width, generator=draw)
    return rows / rows.norm(dim=1, keepdim=True)
