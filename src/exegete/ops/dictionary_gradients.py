"""Loss of a dictionary that is learning, and its gradients in closed form.

In normalised space (rows of x and y centred, mean squared length 1), with e = x_hat - y, averaged over rows:

    relu       |e|^2 + sparsity * sum f                                        gradient of f: 2 e D^T + sparsity, where f > 0
    topk       |e|^2                                                            only the k entries a row are ever touched
    jumprelu   |e|^2 + sparsity * #(pre > t)     the step is given the slope of a rectangle of width `band` round t
    gated      |e|^2 + sparsity * sum max(pre, 0) + |D max(pre, 0) + offset - y|^2, the last with the decoder held still

Dead features of topk are moved by an auxiliary loss: they are asked for what the others leave over (`spare`).

Cost against automatic differentiation: the product that carries the error back to x is not made (only the offset needs it,
summed over rows, which is a vector), and topk reads and writes only the rows of the decoder and encoder that are on.
Shapes: encoder [feature, in] (rows, unlike `Dictionary`), decoder [feature, out], x [row, in], y [row, out].
References: as in `ops.dictionary`; the rectangle: Rajamanoharan et al. 2024, arXiv:2407.14435, eq. 11-12.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from exegete.ops.dictionary import Kind, strongest, summed, turned


@dataclass(eq=False)
class Weights:
    """What is learned. `gain` and `level` of gated; `gain` of jumprelu is the logarithm of the threshold."""

    kind: Kind
    encoder: Tensor
    decoder: Tensor
    bias: Tensor
    offset: Tensor
    gain: Tensor | None = None
    level: Tensor | None = None
    k: int = 0
    centred: bool = True

    def named(self) -> dict[str, Tensor]:
        """Every tensor that is learned."""
        every = ("encoder", "decoder", "bias", "offset", "gain", "level")
        return {n: getattr(self, n) for n in every if getattr(self, n) is not None}

    def before(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder reads [row, in], and what decides whether a feature is on [row, feature]."""
        read = x - self.offset if self.centred else x
        return read, torch.addmm(self.bias, read, self.encoder.T)


@dataclass(frozen=True, eq=False)
class Stepped:
    """One step: gradients by name, mean squared error, features on a row, which features were on, the error [row, out]."""

    gradients: dict[str, Tensor]
    error: float
    active: float
    on: Tensor
    left: Tensor


def gradients(
    w: Weights, x: Tensor, y: Tensor, sparsity: float, band: float, dead: Tensor | None = None
) -> Stepped:
    """The gradients of the mean loss over rows. `dead` [feature] bool marks features that the auxiliary loss moves (topk)."""
    return _topk(w, x, y, dead) if w.kind == "topk" else _dense(w, x, y, sparsity, band)


def _topk(w: Weights, x: Tensor, y: Tensor, dead: Tensor | None) -> Stepped:
    n, m = len(x), len(w.decoder)
    read, pre = w.before(x)
    values, at = strongest(pre, w.k)
    e = summed(values, at, w.decoder) + w.offset - y
    g = e * (2 / n)
    # the inner product of an error with each decoder row that is on
    back = torch.bmm(w.decoder[at.flatten()].view(n, -1, g.shape[1]), g[:, :, None])[:, :, 0] * (values > 0)
    sums = torch.zeros(m, dtype=x.dtype, device=x.device).index_add_(0, at.flatten(), back.flatten())
    found = {
        "encoder": turned(back, at, read, m),
        "decoder": turned(values, at, g, m),
        "bias": sums,
        "offset": g.sum(0) - (sums @ w.encoder if w.centred else 0),
    }
    if dead is not None and bool(dead.any()):
        _spare(w, read, pre, e, dead, found)
    on = torch.zeros(m, dtype=torch.bool, device=x.device)
    on[at[values > 0]] = True
    return Stepped(found, float(e.square().sum() / n), float((values > 0).sum() / n), on, e)


def _spare(
    w: Weights,
    read: Tensor,
    pre: Tensor,
    e: Tensor,
    dead: Tensor,
    found: dict[str, Tensor],
    weight: float = 1 / 32,
) -> None:
    """Add the gradients of weight * |f_dead D_dead - (y - x_hat)|^2, what is left over being held still."""
    which = dead.nonzero()[:, 0]
    f = pre[:, which].relu()
    most = max(1, read.shape[1] // 2)
    if len(which) > most:
        values, at = f.topk(most, 1)
        f = torch.zeros_like(f).scatter_(1, at, values)
    rows = w.decoder[which]
    g = (f @ rows + e) * (2 * weight / len(read))
    back = (g @ rows.T) * (f > 0)
    found["decoder"][which] += f.T @ g
    found["encoder"][which] += back.T @ read
    found["bias"][which] += back.sum(0)


def _dense(w: Weights, x: Tensor, y: Tensor, sparsity: float, band: float) -> Stepped:
    n = len(x)
    read, pre = w.before(x)
    extra: dict[str, Tensor] = {}
    if w.kind == "gated":
        f, slope, extra = _gated(w, pre)
    elif w.kind == "jumprelu":
        f = pre * (pre > _exp(w.gain))
    else:
        f = pre.relu()
    e = torch.addmm(w.offset, f, w.decoder) - y
    g = e * (2 / n)
    back = g @ w.decoder.T
    found = {"decoder": f.T @ g}
    on = f > 0
    if w.kind == "relu":
        back = (back + sparsity / n) * on
        found["bias"] = back.sum(0)
    elif w.kind == "jumprelu":
        t = _exp(w.gain)
        near = (pre - t).abs() < band / 2
        # d f / d t = -(t / band) and d (step) / d t = -(1 / band) inside the rectangle; t = exp(gain)
        found["gain"] = -((back * t + sparsity / n) * near).sum(0) * (t / band)
        back = back * on
        found["bias"] = back.sum(0)
    else:
        back = back * slope
        found["level"] = back.sum(0)
        found["gain"] = (back * extra["scaled"]).sum(0)
        back = back * _exp(w.gain)
        soft = pre.relu()
        guess = torch.addmm(w.offset, soft, w.decoder) - y
        gate = (guess @ w.decoder.T * (2 / n) + sparsity / n) * (pre > 0)
        found["bias"] = gate.sum(0)
        back = back + gate
    found["encoder"] = back.T @ read
    found["offset"] = g.sum(0) - (back.sum(0) @ w.encoder if w.centred else 0)
    return Stepped(found, float(e.square().sum() / n), float(on.sum() / n), on.any(0), e)


def _gated(w: Weights, pre: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Features, where they have a slope, and what the gain multiplied."""
    scaled = (pre - w.bias) * _exp(w.gain)
    loud = scaled + (0.0 if w.level is None else w.level)
    slope = (pre > 0) & (loud > 0)
    return loud * slope, slope, {"scaled": scaled}


def _exp(x: Tensor | None) -> Tensor:
    return torch.ones(1) if x is None else x.exp()
