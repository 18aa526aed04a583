"""The gradient of a scalar with respect to what each reader of the residual reads.

1. one pass that keeps its graph at resid_pre, q, k, v, the inputs of the feed-forward parts and the last residual;
2. one backward of the scalar to q, k, v, these inputs and the last residual;
3. per layer, the rows of that gradient that belong to one head go back through rotation and projection, and all of them
   through the norm, at once: the gradient of the scalar by what that head's q (k, v) alone reads;
4. the same through the norm of the feed-forward part.

The gradients of all readers of layers >= l sum to the ordinary gradient at resid_pre of layer l (chain rule), which is
how the tests know them.

Shapes: [reader, batch, tok, d] a layer, handed out and forgotten. Cost: 1 forward + 1 backward, and one product with
the projections a layer. Reference: Syed et al. 2023 (arXiv:2310.10348), eq. 3.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.site import Site
from exegete.models.edge_run import head_writes, norm_before
from exegete.models.edges import EdgeGraph
from exegete.models.edit import Set
from exegete.models.lab import Lab

_KINDS = ("resid_pre", "q", "k", "v", "z", "attn_add", "mlp_in", "mlp_add")


class ReaderGradients:
    """One pass and its backward; `each` then hands out the gradients a slice of readers at a time, the last first.

    values  of the scalar [batch]
    writes  what every part wrote in this pass [W, batch, tok, d]
    """

    def __init__(
        self,
        lab: Lab,
        graph: EdgeGraph,
        inputs: Mapping[str, Any],
        measure: Callable[[Tensor], Tensor],
        *,
        rows: Tensor | None = None,
        embed: Tensor | None = None,
    ) -> None:
        """`measure` maps logits to values [batch]; `embed` [batch, tok, d] replaces what enters the first layer."""
        self.lab, self.graph = lab, graph
        layers = range(graph.n_layers)
        at = {kind: [Site(kind, layer=i, stack=graph.stack) for i in layers] for kind in _KINDS}
        end = Site("final_in", stack=graph.stack)
        edit = {} if embed is None else {at["resid_pre"][0]: Set(embed)}
        with torch.enable_grad():
            sites = [s for kind in _KINDS for s in at[kind]]
            run = lab.run(inputs, read=[*sites, end], edit=edit, keep_graph=True, rows=rows)
            values = measure(run.logits)
            self._at = {kind: [run[s] for s in sites] for kind, sites in at.items()}
            wanted = [x for kind in ("q", "k", "v", "mlp_in") for x in self._at[kind]] + [run[end]]
            found = lab.gradients(values.sum(), wanted, keep=True)
        n = graph.n_layers
        self._gradients = {k: found[i * n : (i + 1) * n] for i, k in enumerate(("q", "k", "v", "mlp_in"))}
        self._last = found[-1]
        self.values = values.detach()

    @property
    def writes(self) -> Tensor:
        """Stacked from what the pass shows."""
        found = [self._at["resid_pre"][0].detach()]
        with torch.no_grad():
            for i in range(self.graph.n_layers):
                found += list(head_writes(self.lab, self.graph, i, self._at["z"][i].detach()))
                found.append(self._at["mlp_add"][i].detach())
        return torch.stack(found)

    def each(self) -> Iterator[tuple[slice, Tensor]]:
        """(readers, gradients [reader, batch, tok, d]). To be gone through once."""
        graph, last = self.graph, len(self.graph.readers) - 1
        yield slice(last, last + 1), self._last[None]
        for i in reversed(range(graph.n_layers)):
            resid = self._at["resid_pre"][i]
            mid = resid if graph.parallel else resid + self._at["attn_add"][i]
            where = graph.mlp_reader(i)
            norm = norm_before(self.lab, graph, i, "mlp")
            with torch.enable_grad():
                yield slice(where, where + 1), _through(norm, mid, self._gradients["mlp_in"][i])[None]
                qkv = [self._at[kind][i] for kind in "qkv"]
                gradients = [self._gradients[kind][i] for kind in "qkv"]
                yield graph.layer_readers(i), _by_head(qkv, gradients, resid)


def _through(norm: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    """A gradient behind a norm, in front of it."""
    x = x.detach().requires_grad_(True)
    return (
        torch.autograd.grad(norm(x).to(x.device), x, gradient)[0]
        if not isinstance(norm, nn.Identity)
        else gradient
    )


def _by_head(qkv: list[Tensor], gradients: list[Tensor], resid: Tensor) -> Tensor:
    """[reader, batch, tok, d]: the gradient behind each head's q, k and v alone, in front of the norm."""
    total = sum(g.shape[1] for g in gradients)
    each, start = [], 0
    for g in gradients:
        spread = g.new_zeros(total, *g.shape)
        heads = torch.arange(g.shape[1])
        spread[start + heads, :, heads] = g.transpose(0, 1)
        each.append(spread)
        start += g.shape[1]
    found = torch.autograd.grad(
        qkv, resid, each, retain_graph=True, is_grads_batched=True, allow_unused=True
    )[0]
    return found.detach() if found is not None else resid.new_zeros(total, *resid.shape)
