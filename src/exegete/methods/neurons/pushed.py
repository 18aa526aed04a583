"""Which tokens units push up and down most, where they write to the residual of the stack that makes the output.

    neurons of feed-forward layers of decoders    their output weights, on the direct way to the logits (`models.promote`);
                                                  features and directions among neurons: what these write together
    features and directions of the residual       their direction through final norm and head (`models.direct_effects`)

Cost: one pass over one text (eight for the residual). Nothing is told of other places.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from exegete.core.errors import SiteError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.neurons.unit_sources import Source
from exegete.methods.neurons.unit_texts import Unit
from exegete.models.direct_effects import effects
from exegete.models.feedforward import feed_forward
from exegete.models.lab import Lab
from exegete.models.promote import Way, at_position, way_sites
from exegete.models.shown import shown

Tokens = tuple[str, ...]


def pushed(
    lab: Lab, texts: Sequence[Text], units: Sequence[Unit], source: Source | None
) -> dict[Unit, tuple[Tokens, Tokens]]:
    """(up, down) of the units of which it is known."""
    if source is None:
        return _neurons(lab, texts[0], {u: None for u in units if u.site.kind == "mlp_act"})
    rows = source.writes[[u.unit for u in units]]
    if source.out.kind == "mlp_act":
        return _neurons(lab, texts[0], dict(zip(units, rows)), source.out)
    up, down = effects(lab, rows, source.out, texts)
    return {u: (a, b) for u, a, b in zip(units, up, down) if a}


def _neurons(
    lab: Lab, item: Text, mixed: dict[Unit, Tensor | None], out: Site | None = None, n: int = 5
) -> dict[Unit, tuple[Tokens, Tokens]]:
    """The same for neurons, and for mixtures [neuron] of those of the layer `out`."""
    where = {u: (out or u.site).layer for u in mixed}
    layers = sorted({i for i in where.values() if i is not None})
    if not layers or lab.model.task != "causal":
        return {}
    bound = lab.model.map
    stack = bound.stacks[-1]
    by_layer = {i: [u for u in mixed if where[u] == i] for i in layers}
    try:
        values = {}
        for i, some in by_layer.items():
            weight = feed_forward(bound, i).weight
            values[i] = torch.stack([_row(weight, u, mixed[u]) for u in some])
        reading = lab.read([item.model_copy(update={"truncate": True})])
        pick = at_position(torch.tensor([reading.lengths[0] - 1]))
        sites = way_sites(bound, stack)
        first = torch.zeros(1, 1, dtype=torch.long)
        seen = lab.run(reading.inputs, reduce=dict.fromkeys(sites, pick), rows=first)
        tops = Way(bound, stack, {s: seen[s] for s in sites}).tops(values, n)
    except SiteError:
        return {}  # no straight way from the unit to the logits is known for this family: the card shows none
    return {
        u: (shown(lab, tops[i][0][j].tolist()), shown(lab, tops[i][1][j].tolist()))
        for i in layers
        for j, u in enumerate(by_layer[i])
    }


def _row(weight: Tensor, unit: Unit, mixed: Tensor | None) -> Tensor:
    return weight[unit.unit] if mixed is None else mixed.to(weight) @ weight
