"""Copying: does what a head carries from a token speak for that same token?

1. the full OV circuit of a head sends a token's embedding, through the norm in front and W_V W_O, to the logits:
   C = E W_V W_O U^T [token, token]; its diagonal is copying;
2. the nonzero eigenvalues of C are those of the small matrix W_O (U^T E) W_V [dh, dh]: only U^T E [d, d] is summed over the
   vocabulary, chunk by chunk;
3. score = sum of the eigenvalues over the sum of their absolute values, in [-1, 1]: 1 where every direction is raised
   by itself (copying), -1 where every one is lowered (anti-copying), about 0 by chance.

Logits are centred over the vocabulary (a constant says nothing). A token enters as if the residual held nothing but its
embedding, with the scale that the norm has there; biases are left out. Control: U and E of different tokens paired.
Cost: no pass beside those of `circuits`; O(vocabulary d^2) a layer. Reference: Elhage et al. 2021, "Detecting copying behaviour".
"""

import torch
from torch import Tensor

from exegete.models.circuits import LayerCircuits
from exegete.models.lab import Lab
from exegete.models.vocabulary import entering, leaving, usual_ids

_CHUNK = 4096
_NOTHING = 1e-9


def copying(lab: Lab, layers: tuple[LayerCircuits, ...]) -> tuple[Tensor, Tensor]:
    """Scores [layer, head] of all heads, and of the same heads with the tokens of the output shuffled."""
    model = lab.model
    ids = usual_ids(model)
    other = ids[torch.from_numpy(lab.rng("copying").permutation(len(ids)))]
    embedded = entering(model, ids)
    return _scores(lab, layers, embedded, ids), _scores(lab, layers, embedded, other)


def eigenvalue_share(matrices: Tensor) -> Tensor:
    """Sum of the eigenvalues over the sum of their absolute values, of matrices [n, dh, dh]; 0 for one that is as good as zero
    beside the largest (its eigenvalues would be rounding errors, and may not even be found).
    """
    found = matrices.new_zeros(len(matrices), dtype=torch.float64)
    size = matrices.double().norm(dim=(-2, -1))
    for i in torch.nonzero(size > _NOTHING * size.max()).flatten().tolist():
        values = torch.linalg.eigvals(matrices[i].double() / size[i])
        found[i] = values.real.sum() / values.abs().sum()
    return found


def seen_through(layer: LayerCircuits, embedded: Tensor) -> Tensor:
    """Embeddings [token, d] as the attention of a layer reads them when they are all there is; the norm's bias left out."""
    if layer.norm is None or layer.front is None:
        return embedded
    return layer.front(embedded) - layer.norm.bias


def _centring(layer: LayerCircuits) -> bool | None:
    """Whether the norm in front centres; None where there is none. Layers alike in this share all but the gain."""
    return None if layer.norm is None else layer.norm.centred


def _plain(x: Tensor, centring: bool | None) -> Tensor:
    """Behind a norm without gain: rows of mean square 1, centred where the norm centres."""
    if centring is None:
        return x
    x = x - x.mean(-1, keepdim=True) if centring else x
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)


def _scores(lab: Lab, layers: tuple[LayerCircuits, ...], embedded: Tensor, spoken: Tensor) -> Tensor:
    """Scores [layer, head] where token i comes in as `embedded[i]` and goes out as `spoken[i]`."""
    d = embedded.shape[1]
    zero = torch.zeros(d, d, dtype=torch.float64)
    paired = {_centring(layer): zero for layer in layers}
    in_sum, out_sum = dict.fromkeys(paired, zero[0]), zero[0]
    for e, ids in zip(embedded.split(_CHUNK), spoken.split(_CHUNK)):
        u = leaving(lab.model.map, ids).direction.double().cpu()
        out_sum = out_sum + u.sum(0)
        for kind in paired:
            x = _plain(e, kind).double().cpu()
            paired[kind], in_sum[kind] = paired[kind] + u.T @ x, in_sum[kind] + x.sum(0)
    found = []
    for layer in layers:
        kind = _centring(layer)
        both = paired[kind] - out_sum[:, None] * in_sum[kind] / len(spoken)
        both = both if layer.norm is None else both * layer.norm.gain.double().cpu()
        found.append(layer.o.double().cpu() @ both @ layer.each("v").double().cpu())
    return eigenvalue_share(torch.cat(found)).unflatten(0, (len(layers), -1))
