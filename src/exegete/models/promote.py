"""From what a hidden unit writes to what it does to every token: the direct way to the logits, frozen at one position.

1. read, at one position a text, the residual that the final norm stands on, and what every other norm on the way stands on
   (norms on sums in post-norm families, norms on what a part adds in sandwich-norm ones);
2. the direction of each token's logit at the last residual comes from `models.readout` (final norm and head frozen);
3. walk back through the layers: where a norm stands on the sum, or on what the feed-forward part adds, the direction passes
   back through it, frozen at its activation.

A unit with coefficient m and value v (row of the down projection) then adds m * <v, direction> to that token's logit, which
is exact and linear. With norms in front of parts only (most decoders) a norm's scale is one positive number for all tokens,
so that the order of the tokens does not depend on the text.

Shapes: ids [id, batch]; directions [id, batch, d]; values [unit, d]. Cost: no pass beside the one that reads; O(vocab * d) numbers
a layer for whole vocabularies, in chunks. Reference: Geva et al. 2022 (arXiv:2203.14680), eq. 4-5, who leave the norms out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exegete.core.site import Site, Stack
from exegete.models.family import ModelMap
from exegete.models.norms import freeze
from exegete.models.readout import readout

IDS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Way:
    """The direct way from units to logits; `at` holds what `way_sites` names, at one position a text [batch, d]."""

    bound: ModelMap
    stack: Stack
    at: Mapping[Site, Tensor]

    def directions(self, ids: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(layer, direction [id, batch, d] at the return of its down projection) of the logits of ids [id, batch], last first."""
        u = readout(self.bound, self.at[Site("final_in", stack=self.stack)], ids).direction
        for layer in reversed(range(self.bound.n_layers)):
            for part in ("mlp", "cross", "attn"):
                if self._table(part) is None:
                    continue
                u = self._through_sum(layer, part, u)
                if part == "mlp":
                    yield layer, self._through_add(layer, u)

    def logits(self, values: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What one unit of coefficient 1 adds to every logit [unit, vocab], for values [unit, d] by layer, in the first text."""
        found: dict[int, list[Tensor]] = {i: [] for i in values}
        for _, layer, part in self._chunks(values):
            found[layer].append(part)
        return {i: torch.cat(x, 1) for i, x in found.items()}

    def tops(self, values: Mapping[int, Tensor], k: int) -> dict[int, tuple[Tensor, Tensor]]:
        """By layer, the k tokens [unit, k] that each value pushes up most, and down most; whole vocabularies are never held."""
        held: dict[tuple[int, float], tuple[Tensor, Tensor]] = {}
        for first, layer, part in self._chunks(values):
            ids = torch.arange(first, first + part.shape[1], device=part.device).expand_as(part)
            for sign in (1.0, -1.0):
                old = held.get((layer, sign))
                score = sign * part if old is None else torch.cat([old[0], sign * part], 1)
                every = ids if old is None else torch.cat([old[1], ids], 1)
                best, at = score.topk(min(k, score.shape[1]), 1)
                held[layer, sign] = best, every.gather(1, at)
        return {i: (held[i, 1.0][1], held[i, -1.0][1]) for i in values}

    def _chunks(self, values: Mapping[int, Tensor]) -> Iterator[tuple[int, int, Tensor]]:
        """(first id, layer, what values of that layer add [unit, id]) for chunks of the vocabulary."""
        final = self.at[Site("final_in", stack=self.stack)][:1]
        first = Way(self.bound, self.stack, {s: x[:1] for s, x in self.at.items()})
        every = torch.arange(int(self.bound.unembed(final).shape[-1]), device=final.device)
        for ids in every.split(IDS_AT_ONCE):
            for layer, u in first.directions(ids[:, None]):
                if layer in values:
                    yield int(ids[0]), layer, values[layer] @ u[:, 0].T

    def _table(self, part: str) -> Any:
        return getattr(self.bound.tower(self.stack).table.block, part)

    def _through_sum(self, layer: int, part: str, u: Tensor) -> Tensor:
        """The direction before the norm on the sum that follows a part; unchanged where there is none."""
        path = self.bound.part_path(self.stack, layer, part, "after")
        if not path:
            return u
        before = Site(_before(self.bound, self.stack, part), layer=layer, stack=self.stack)
        add = Site(_added(part), layer=layer, stack=self.stack)
        return freeze(self.bound.at(path), self.at[before] + self.at[add]).transpose(u)

    def _through_add(self, layer: int, u: Tensor) -> Tensor:
        """The direction at the return of the down projection: behind a factor, and a norm on what is added."""
        table = self._table("mlp")
        if table.scale:
            u = u * getattr(self.bound.block(self.stack, layer), table.scale)
        if not _sandwiched(table):
            return u
        norm = self.bound.at(self.bound.part_path(self.stack, layer, "mlp", "add"))
        return freeze(norm, self.at[Site("mlp_out", layer=layer, stack=self.stack)]).transpose(u)


def way_sites(bound: ModelMap, stack: Stack) -> tuple[Site, ...]:
    """What `Way` needs to have been read: the last residual, and what every norm on the way stands on."""
    kinds: list[str] = []
    block = bound.tower(stack).table.block
    for part in ("attn", "cross", "mlp"):
        if getattr(block, part) is not None and getattr(block, part).after:
            kinds += [_before(bound, stack, part), _added(part)]
    kinds += ["mlp_out"] if _sandwiched(block.mlp) else []
    inner = [Site(k, layer=i, stack=stack) for i in range(bound.n_layers) for k in dict.fromkeys(kinds)]
    return (Site("final_in", stack=stack), *inner)


def at_position(first: Tensor) -> Callable[[Tensor], Tensor]:
    """A reducer of [batch, tok, ...]: the rows [batch, ...] at one position a text, `first` [batch]."""

    def pick(x: Tensor) -> Tensor:
        return x[torch.arange(len(x), device=x.device), first.to(x.device)].detach().clone()

    return pick


def _sandwiched(table: Any) -> bool:
    """Whether a norm stands between the part and the residual that it is added to."""
    return bool(table.add) and table.add not in (table.proj, table.out)


def _added(part: str) -> str:
    return {"attn": "attn_add", "cross": "cross_attn_add", "mlp": "mlp_add"}[part]


def _before(bound: ModelMap, stack: Stack, part: str) -> str:
    """The kind of residual that a part's addend is added to."""
    block = bound.tower(stack).table.block
    if block.parallel or part == "attn":
        return "resid_pre"
    return "resid_mid" if part == "cross" or block.cross is None else "cross_resid"
