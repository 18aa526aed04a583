"""What directions in the residual do to the logits: the tokens that each pushes up and down most, later layers left out.

1. the mean last residual of a few texts;
2. the direction of every token's logit there, through final norm and head, frozen (`models.readout`), chunk by chunk;
3. its product with each direction asked about.

Cost: one pass of up to eight texts, and a product with the vocabulary. Shapes: rows [feature, d]. Reference: Bricken et al. 2023.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site
from exegete.models.lab import Lab
from exegete.models.readout import readout
from exegete.models.shown import shown

WRITES = ("resid_pre", "resid_mid", "resid_post", "attn_add", "mlp_add", "attn_out", "mlp_out")
N_EFFECTS = 5
IDS_AT_ONCE = 4096


def effects(
    lab: Lab, rows: Tensor, out: Site, texts: Sequence[Text]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The tokens that directions [feature, d] push up and down most; empty where they do not write to the output's residual."""
    none: list[tuple[str, ...]] = [()] * len(rows)
    bound = lab.model.map
    said = lab.model.task in ("causal", "masked", "seq2seq") and bound.head is not None
    if not said or out.kind not in WRITES or out.stack != bound.stacks[-1] or rows.shape[1] != bound.d_model:
        return none, none
    final = Site("final_in", stack=bound.stacks[-1])
    reading = lab.read([t.model_copy(update={"truncate": True}) for t in texts[:8]])
    mask = reading.mask
    at = lab.run(reading.inputs, reduce={final: lambda x: x[mask.to(x.device)].mean(0, keepdim=True)})[final]
    size = int(bound.unembed(at).shape[-1])
    rows = rows.to(at.device, at.dtype)
    parts = [
        rows @ readout(bound, at, ids[:, None]).direction[:, 0].T
        for ids in torch.arange(size, device=at.device).split(IDS_AT_ONCE)
    ]
    whole = torch.cat(parts, 1)
    special = [i for i in lab.model.tokenizer.all_special_ids if i < size]
    whole[:, special] = 0.0
    n = min(N_EFFECTS, size)
    up, down = whole.topk(n, 1).indices.tolist(), whole.topk(n, 1, largest=False).indices.tolist()
    return [tuple(t.strip() for t in shown(lab, r)) for r in up], [
        tuple(t.strip() for t in shown(lab, r)) for r in down
    ]
