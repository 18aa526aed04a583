"""Weights read as tables over tokens: what a token alone says, and what a head does with it.

    direct    [token, vocab]  E W_U: what a token says of the next one, along the residual alone (bigram table)
    ov        [token, vocab]  E W_V W_O W_U: what a head adds to the logits where it reads a token with attention 1
    qk        [query, key]    (E W_Q)(E W_K)^T: how much a token, as the query, looks for another (before the model's scale, and
                              without positions: rotations at distance 0, biases of positions left out)

What is exact, and where. Norm in front of attention: a token enters with the scale that the norm has when the residual
holds nothing but its embedding (exact in layer 0 where no position is added). Final norm: tables of logits are per unit of
the norm's scale (`raised`), or at the scale of the whole residual (`said`). So a model of one layer of attention without
positions is its tables: residual = E + constant + sum over heads and keys of pattern times `ov` rows, pattern = softmax of
scaled `qk`. In deeper layers a table is the share of the token itself, past everything that other parts wrote.

Memory: rows that are asked for; columns in chunks. Reference: Elhage et al. 2021, "One-layer attention-only transformers".
"""

from functools import cached_property

import torch
from torch import Tensor

from exegete.models.circuits import LayerCircuits, circuits
from exegete.models.copying import seen_through
from exegete.models.lab import Lab
from exegete.models.vocabulary import Leaving, entering, final_scale, leaving, usual_ids

_CHUNK = 4096


class Tables:
    """Tables of one decoder. `ids` [vocab] are its ordinary tokens, the columns of every table of logits."""

    def __init__(self, lab: Lab, layers: tuple[LayerCircuits, ...] | None = None) -> None:
        self.lab, self.bound = lab, lab.model.map
        self.ids = usual_ids(lab.model)
        self.layers = circuits(lab) if layers is None else layers

    def embedded(self, ids: Tensor) -> Tensor:
        """What tokens put into the residual [n, d], less their position."""
        return entering(self.lab.model, ids)

    def carried(self, layer: int, head: int, ids: Tensor) -> Tensor:
        """What a head adds to the residual [n, d] where it reads one of `ids` with attention 1, less `constant`."""
        one = self.layers[layer]
        return seen_through(one, self.embedded(ids)) @ one.each("v")[head] @ one.o[head]

    def constant(self, layer: int) -> Tensor:
        """What the heads of a layer add to the residual [d] whatever they read: biases of norm and values. The bias of the
        output projection is not among it.
        """
        one = self.layers[layer]
        group = one.n_heads // len(one.v)
        value = one.bias["v"].repeat_interleave(group, 0)
        if one.norm is not None:
            value = value + torch.einsum("d,hde->he", one.norm.bias, one.each("v"))
        return torch.einsum("he,hed->d", value, one.o)

    def qk(self, layer: int, head: int, queries: Tensor, keys: Tensor) -> Tensor:
        """Products [query, key] of what tokens ask and offer, biases included."""
        asked, offered = (self._sides(layer, head, kind, ids) for kind, ids in (("q", queries), ("k", keys)))
        return asked @ offered.T

    def said(self, resid: Tensor) -> Tensor:
        """Logits [n, vocab] of last residuals [n, d], as the model's own norm and head make them."""
        scale = final_scale(self.bound, resid)
        return torch.cat([out.logits(resid, scale) for _, out in self._ends], 1)

    def raised(self, resid: Tensor, scale: float = 1.0) -> Tensor:
        """What terms [n, d] of the last residual add to the logits [n, vocab] before a soft cap, where the final norm has this
        scale; centred over the vocabulary, for a constant says nothing.
        """
        found = torch.cat([scale * (resid @ out.direction.T) for _, out in self._ends], 1)
        return found - found.mean(1, keepdim=True)

    @cached_property
    def _ends(self) -> tuple[tuple[Tensor, Leaving], ...]:
        """The unembedding of every chunk of the vocabulary."""
        return tuple((ids, leaving(self.bound, ids)) for ids in self.ids.split(_CHUNK))

    def _sides(self, layer: int, head: int, kind: str, ids: Tensor) -> Tensor:
        one = self.layers[layer]
        x = seen_through(one, self.embedded(ids))
        x = x if one.norm is None else x + one.norm.bias
        bias = one.bias[kind].repeat_interleave(one.n_heads // len(one.bias[kind]), 0)[head]
        return x @ one.each(kind)[head] + bias
