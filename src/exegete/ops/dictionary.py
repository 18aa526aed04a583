"""A dictionary of sparse features: an encoder that says which few features are on, and a decoder that adds their directions.

    x      [row, in]        what is read (activations)
    f      [row, feature]   non-negative, mostly zero
    x_hat  = f @ decoder + offset                 of x itself (autoencoder), or of what a part makes of x (transcoder)

With pre = (x - offset) @ encoder + bias (a transcoder does not subtract the offset):

    relu       f = max(pre, 0)
    topk       the k largest of max(pre, 0), the others 0
    jumprelu   f = pre where pre > threshold, else 0 (threshold a feature, positive)
    gated      f = max((x - offset) @ encoder * exp(gain) + level, 0) where pre > 0, else 0

Rows of the decoder have length 1 after training, so that a feature's value is how far it moves the activation.

Cost: two matrix products of 2 * row * in * feature operations; for topk the decoder costs k / feature of that.
Shapes: encoder [in, feature], decoder [feature, out]. References: Bricken et al. 2023 (relu); Gao et al. 2024,
arXiv:2406.04093 (topk); Rajamanoharan et al. 2024, arXiv:2404.16014 (gated) and arXiv:2407.14435 (jumprelu).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Kind = Literal["relu", "topk", "jumprelu", "gated"]
KINDS: tuple[Kind, ...] = ("relu", "topk", "jumprelu", "gated")
AT_ONCE = 1 << 24  # features made at a time, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A dictionary in the space of the activations. Fields as in the module; those that a kind lacks are None.

    `k` is how many features topk keeps (0 for the other kinds); `centred` says whether the offset is subtracted from what is
    read (an autoencoder).
    """

    kind: Kind
    encoder: Tensor
    decoder: Tensor
    bias: Tensor
    offset: Tensor
    threshold: Tensor | None = None
    gain: Tensor | None = None
    level: Tensor | None = None
    k: int = 0
    centred: bool = True

    @property
    def n_features(self) -> int:
        """How many features it has."""
        return len(self.decoder)

    def before(self, x: Tensor) -> Tensor:
        """What decides whether a feature is on, before it is cut off [row, feature]."""
        return (x - self.offset if self.centred else x) @ self.encoder + self.bias

    def encode(self, x: Tensor) -> Tensor:
        """Features [..., feature] of activations [..., in]."""
        pre = self.before(x)
        if self.kind == "relu":
            return pre.relu()
        if self.kind == "topk":
            values, at = strongest(pre, self.k)
            return torch.zeros_like(pre).scatter_(-1, at, values)
        if self.kind == "jumprelu":
            return pre.relu() * (pre > self._threshold)
        loud = (pre - self.bias) * self._gain.exp() + self._level
        return loud.relu() * (pre > 0)

    def decode(self, features: Tensor) -> Tensor:
        """What features [..., feature] stand for [..., out]."""
        return features @ self.decoder + self.offset

    def __call__(self, x: Tensor) -> Tensor:
        """What is left of activations [..., in] when only features are kept: [..., out], in their type."""
        flat = x.reshape(-1, x.shape[-1]).to(self.encoder.dtype)
        size = max(1, AT_ONCE // self.n_features)
        found = torch.cat([self._through(part) for part in flat.split(size)]) if len(flat) else flat
        return found.reshape(*x.shape[:-1], self.decoder.shape[1]).to(x.dtype)

    def to(self, device: torch.device | str) -> "Dictionary":
        """The same on another device."""
        moved = {n: None if (t := getattr(self, n)) is None else t.to(device) for n in TENSORS}
        return Dictionary(self.kind, **moved, k=self.k, centred=self.centred)  # type: ignore[arg-type]

    def _through(self, x: Tensor) -> Tensor:
        if self.kind != "topk":
            return self.decode(self.encode(x))
        values, at = strongest(self.before(x), self.k)
        return summed(values, at, self.decoder) + self.offset

    @property
    def _threshold(self) -> Tensor:
        return self.bias.new_zeros(1) if self.threshold is None else self.threshold

    @property
    def _gain(self) -> Tensor:
        return self.bias.new_zeros(1) if self.gain is None else self.gain

    @property
    def _level(self) -> Tensor:
        return self.bias.new_zeros(1) if self.level is None else self.level


TENSORS = ("encoder", "decoder", "bias", "offset", "threshold", "gain", "level")


def strongest(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries a row, cut at zero, and where they are: [..., k] each, in no particular order."""
    values, at = pre.topk(min(k, pre.shape[-1]), dim=-1, sorted=False)
    return values.relu(), at


def summed(weights: Tensor, at: Tensor, rows: Tensor) -> Tensor:
    """Sum over j of weights[i, j] * rows[at[i, j]]: [n, k], [n, k], [m, width] -> [n, width], reading only what is named."""
    return embedding_bag(at, rows, per_sample_weights=weights, mode="sum")


def turned(weights: Tensor, at: Tensor, rows: Tensor, n: int) -> Tensor:
    """Sum over (i, j) with at[i, j] = m of weights[i, j] * rows[i], for every m below n: [n, width]. The transpose of `summed`."""
    order = at.flatten().argsort()
    starts = torch.bincount(at.flatten(), minlength=n).cumsum(0)
    offsets = torch.cat([starts.new_zeros(1), starts[:-1]])
    source = order // at.shape[1]
    return embedding_bag(
        source,
        rows,
        offsets,
        per_sample_weights=weights.flatten()[order],
        mode="sum",
        include_last_offset=False,
    )


def explained(x: Tensor, x_hat: Tensor) -> float:
    """Share of the variance of x [row, width] that x_hat explains: 1 - sum (x - x_hat)^2 / sum (x - mean)^2."""
    total = float((x - x.mean(0)).double().square().sum())
    return 1.0 - float((x - x_hat).double().square().sum()) / max(total, 1e-30)


def alike(found: Tensor, true: Tensor) -> float:
    """Mean over true directions [m, width] of the largest cosine with a found direction [n, width] (mean max cosine)."""
    a = found / found.norm(dim=1, keepdim=True).clamp_min(1e-12)
    b = true / true.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return float((b @ a.T).max(1).values.mean())


def random_dictionary(x: Tensor, n_features: int, k: int, seed: int) -> Dictionary:
    """Chance: random directions of length 1, k of them on at a time, each feature the projection on it [no training].

    The offset is the mean of x [row, width]. Projections of several directions add up to more than x, so they are divided by
    the factor that fits best.
    """
    draw = torch.Generator().manual_seed(seed % (1 << 63))
    rows = torch.randn(n_features, x.shape[1], generator=draw)
    rows = (rows / rows.norm(dim=1, keepdim=True)).to(x)
    zero = rows.new_zeros(n_features)
    plain = Dictionary("topk", rows.T.contiguous(), rows, zero, x.mean(0), k=k)
    moved, wanted = plain(x) - plain.offset, x - plain.offset
    fit = float((moved * wanted).sum() / moved.square().sum().clamp_min(1e-30))
    return Dictionary("topk", rows.T * fit, rows, zero, plain.offset, k=k)
