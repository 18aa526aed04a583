"""Random tokens said twice: what heads do there, and what the model gains from having read them once.

1. a row is the tokenizer's own first token (where it puts one), `length` different random tokens, and the same again;
   its control has other tokens the second time, so that there is nothing to come back to;
2. of every head, the mean attention over the queries of the second saying on the position after the previous occurrence of
   the token (prefix matching) and on the previous occurrence itself (duplicate); over all queries on the previous position;
3. of every row, the loss at every position; in-context learning = mean loss of the second saying - mean loss of the first,
   each from its second token on (negative where reading once helps).

Chance is uniform attention over what the query sees. Shapes: attention [kind, row, layer, head]; loss [row, tok - 1].
Cost: a forward a row. References: Elhage et al. 2021; Olsson et al. 2022 (arXiv:2209.11895), "prefix matching score".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError
from exegete.core.site import Site
from exegete.models.edit import Set
from exegete.models.encode import limit
from exegete.models.lab import Lab
from exegete.models.vocabulary import opening, usual_ids
from exegete.ops.stats import bootstrap_mean

KINDS = ("prefix", "previous", "duplicate")
Heads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Repeats:
    """Rows `said` [row, tok] with the segment twice and `fresh` [row, tok] with other tokens the second time."""

    said: Tensor
    fresh: Tensor
    lead: int
    length: int

    @property
    def chance(self) -> dict[str, float]:
        """Attention of a uniform head by kind."""
        tokens = self.said.shape[1]
        later = np.mean([1 / (t + 1) for t in range(self.lead + self.length, tokens)])
        every = np.mean([1 / (t + 1) for t in range(self.lead + 1, tokens)])
        return {"prefix": float(later), "previous": float(every), "duplicate": float(later)}

    def learned(self, loss: np.ndarray) -> np.ndarray:
        """In-context learning [row], in nats, from losses [row, tok - 1]: second saying minus first."""
        start, half = self.lead, self.lead + self.length
        return loss[:, half:].mean(1) - loss[:, start : half - 1].mean(1)


@dataclass(frozen=True)
class Watched:
    """What was seen on rows: `attention` [kind, row, layer, head], `loss` [row, tok - 1], and the mean output of every head
    (z) [layer, head, dh].
    """

    attention: np.ndarray
    loss: np.ndarray
    mean_z: tuple[Tensor, ...] = ()

    def kind(self, name: str) -> np.ndarray:
        """Attention of one kind [row, layer, head]."""
        return self.attention[KINDS.index(name)]


def repeats(lab: Lab, n: int, length: int) -> Repeats:
    """`n` rows of random tokens, the same for every model with this tokenizer. Raises `InputError` where they do not fit."""
    usual, lead = usual_ids(lab.model).numpy(), opening(lab.model)
    most = limit(lab.model)
    if length > len(usual) or (most is not None and len(lead) + 2 * length > most):
        raise InputError(
            f"You asked for {length} random tokens, said twice.",
            f"{lab.model.name} has {len(usual)} ordinary tokens and reads {most or 'any number of'} at once.",
            "Choose a smaller repeat_length.",
        )
    said, fresh = [], []
    for i in range(n):
        draw = lab.rng("repeats", i)
        order = draw.permutation(usual)
        first, rest = order[:length], order[length:]
        other = rest[:length] if len(rest) >= length else draw.choice(usual, length)
        said.append([*lead, *first, *first])
        fresh.append([*lead, *first, *other])
    device = lab.model.device
    both = (torch.tensor(np.array(x)).to(device) for x in (said, fresh))
    return Repeats(*both, lead=len(lead), length=length)


def watch(lab: Lab, rows: Tensor, how: Repeats, *, mean_z: bool = False) -> Watched:
    """Attention and loss on rows."""
    bound = lab.model.map
    sites = [
        [Site(k, layer=i, stack=bound.stacks[-1]) for i in range(bound.n_layers)] for k in ("pattern", "z")
    ]
    reduce: dict[Site, Any] = dict.fromkeys(sites[0], lambda p: _looks(p, how))
    if mean_z:
        reduce |= dict.fromkeys(sites[1], lambda z: z.double().mean(2).cpu())
    looked, losses, means = [], [], []
    for cut in lab.chunks(len(rows), rows.shape[1]):
        seen = lab.run({"input_ids": rows[cut]}, reduce=reduce)
        looked.append(np.stack([seen[s] for s in sites[0]], 2))
        losses.append(_loss(seen.logits, rows[cut]))
        means.append([seen[s] for s in sites[1]] if mean_z else [])
    z = tuple(torch.cat(m).mean(0) for m in zip(*means))
    return Watched(np.concatenate(looked, 1), np.concatenate(losses), z)


def knocked(
    lab: Lab, rows: Tensor, heads: Heads, mean_z: tuple[Tensor, ...], preserve: bool = False
) -> np.ndarray:
    """Losses [row, tok - 1] with the outputs of some heads replaced by their means; `preserve`: every pattern stays as it was,
    so that only what the heads say directly, not what others look at because of them, is lost.
    """
    bound = lab.model.map
    stack = bound.stacks[-1]
    patterns = [Site("pattern", layer=i, stack=stack) for i in range(bound.n_layers)]
    edits: dict[Site, Any] = {}
    for layer in sorted({i for i, _ in heads}):
        mine = [h for i, h in heads if i == layer]
        edits[Site("z", layer=layer, stack=stack)] = Set(mean_z[layer][mine][:, None], heads=mine)
    losses = []
    for cut in lab.chunks(len(rows), rows.shape[1]):
        some: Mapping[str, Tensor] = {"input_ids": rows[cut]}
        edit = dict(edits)
        if preserve:
            clean = lab.run(some, read=patterns)
            edit |= {s: Set(clean[s]) for s in patterns}
        losses.append(_loss(lab.run(some, edit=edit).logits, rows[cut]))
    return np.concatenate(losses)


def strongest(attention: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Of attention [row, layer, head]: the head that is strongest on even rows, and its values on the odd ones."""
    layer, head = np.unravel_index(attention[::2].mean(0).argmax(), attention.shape[1:])
    return attention[1::2, layer, head], (int(layer), int(head))


def upper(values: np.ndarray) -> float:
    """The upper end of the 95 % interval of a mean: a control has noise of its own, which must be beaten too."""
    return float((bootstrap_mean(values) or (0.0, values.mean()))[1])


def _looks(pattern: Tensor, how: Repeats) -> np.ndarray:
    """Mean attention [kind, row, head] of a pattern [row, head, query, key]."""
    tokens, later = pattern.shape[-1], how.lead + how.length
    found = []
    for start, back in ((later, how.length - 1), (how.lead + 1, 1), (later, how.length)):
        queries = torch.arange(start, tokens, device=pattern.device)
        found.append(pattern[:, :, queries, queries - back].double().mean(-1).cpu().numpy())
    return np.stack(found)


def _loss(logits: Tensor, rows: Tensor) -> np.ndarray:
    """Loss [row, tok - 1] of every token from the second on."""
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), rows[:, 1:].flatten(), reduction="none"
    )
    return each.view(len(rows), -1).double().cpu().numpy()
