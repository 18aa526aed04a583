"""Every head's attention, taken as it is made: what the studies of heads share.

1. `Heads` names the query heads of the self-attentions of a model: those of the only stack, or of encoder and decoder (whose
   decoder reads the text again, one place to the right, so that its heads are seen on text too);
2. `watch` runs inputs once and hands pattern and visible keys of each layer to a function, so that one layer is held at a time.

Grouped-query attention: keys are shared, patterns are not; a head is a query head. Cost: 1 forward a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import SiteError
from exegete.core.site import Site, Stack
from exegete.methods.attention.look import Attention, attentions
from exegete.models.lab import Lab

# Called with a stack, a layer, the pattern [batch, head, query, key] and which keys are seen (same shape, bool).
Take = Callable[[Stack, int, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Heads:
    """The query heads of some attentions, numbered through: `at` (stack, layer) is the number of the first head there."""

    attentions: tuple[Attention, ...]
    at: dict[tuple[Stack, int], int]
    sizes: dict[Stack, int]
    layers: tuple[tuple[Stack, int], ...]

    def __len__(self) -> int:
        return sum(self.sizes[stack] for stack, _ in self.layers)

    def slice(self, stack: Stack, layer: int) -> slice:
        """Where the heads of a layer stand."""
        start = self.at[stack, layer]
        return slice(start, start + self.sizes[stack])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the heads: 0.h1, or enc.0.h1."""
        return tuple(f"{_lead(s)}{k}.h{h}" for s, k in self.layers for h in range(self.sizes[s]))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(f"{_lead(s)}{k}" for s, k in self.layers)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Row (of `rows`) and head of each head."""
        return tuple((r, h) for r, (s, _) in enumerate(self.layers) for h in range(self.sizes[s]))


def heads_of(lab: Lab, stacks: Sequence[Stack] | None = None) -> Heads:
    """The heads of every self-attention (of `stacks` only, when given). Raises `SiteError` where no pattern can be seen."""
    found = tuple(a for a in attentions(lab) if not a.cross and (stacks is None or a.keys in stacks))
    if not found:
        raise SiteError(
            f"You asked what the heads of {lab.model.name} look at.",
            "None of its attention patterns can be seen.",
            "Load it with attn_implementation='sdpa' or 'eager'; `xg.prove(model)` says what was refused.",
        )
    layers: tuple[tuple[Stack, int], ...] = tuple((a.keys, int(s.layer or 0)) for a in found for s in a.sites)
    sizes: dict[Stack, int] = {a.keys: lab.model.map.tower(a.keys).n_heads for a in found}
    at: dict[tuple[Stack, int], int] = {}
    n = 0
    for stack, layer in layers:
        at[stack, layer] = n
        n += sizes[stack]
    return Heads(found, at, sizes, layers)


def watch(lab: Lab, heads: Heads, inputs: dict[str, Tensor], take: Take) -> None:
    """One pass; `take` is called with every layer's patterns as they are made, scores having said what is seen."""
    seen: dict[Site, np.ndarray] = {}

    def look(site: Site, scores: Tensor) -> None:
        seen[site] = (scores > -torch.inf).cpu().numpy()

    def show(scores: Site, site: Site, pattern: Tensor) -> None:
        values = pattern.detach().double().cpu().numpy()
        take(site.stack, int(site.layer or 0), values, np.broadcast_to(seen.pop(scores), values.shape))

    reduce: dict[Site, Any] = {}
    for a in heads.attentions:
        for scores, pattern in zip(a.kin("scores"), a.sites):
            reduce[scores] = lambda x, s=scores: look(s, x)
            reduce[pattern] = lambda x, s=scores, p=pattern: show(s, p, x)
    rows = torch.zeros((len(inputs["input_ids"]), 1), dtype=torch.long, device=lab.model.device)
    lab.run(inputs, reduce=reduce, rows=rows)


def _lead(stack: Stack) -> str:
    return f"{stack}." if stack else ""
