"""A one-layer, one-head classifier whose attention is known: the last token looks at the token LOOK, whose value says "yes".

GPT-2 with hand-written weights. Values: only LOOK carries anything (`values="one"`), or every token the same
(`values="same"`: then no attention can matter). The residual's coordinate 6 holds the evidence, 7 a constant against it.
"""

from typing import Any

import torch

from exegete.core.request import Text
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny

LOOK, OTHERS = 40, (41, 42, 43, 44, 45, 46)
WIDTH = 8


def looking(values: str = "one", strength: float = 8.0) -> Model:
    """The planted model. `strength` is the score of LOOK above the others (0: uniform attention)."""
    module: Any
    module, tokenizer = tiny("gpt2", "sequence", layers=1, width=WIDTH, heads=1)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        body = module.transformer
        table = body.wte.weight
        table[:, 1] = 1.0
        table[LOOK] = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
        for i, t in enumerate(OTHERS):
            table[t, 1 + i % 5] = 1.0
        for norm in (body.h[0].ln_1, body.h[0].ln_2, body.ln_f):
            norm.weight.fill_(1.0)
        attn = body.h[0].attn
        scale = float(torch.nn.functional.layer_norm(table[LOOK], (WIDTH,))[0])
        attn.c_attn.bias[0] = 1.0  # query: a constant
        attn.c_attn.weight[0, WIDTH] = strength * WIDTH**0.5 / scale  # key: how much of LOOK a token is
        if values == "one":
            attn.c_attn.weight[0, 2 * WIDTH] = 1.0 / scale
        else:
            attn.c_attn.bias[2 * WIDTH] = 1.0
        attn.c_proj.weight[0, 6] = 8.0
        attn.c_proj.bias[7] = 3.0
        module.score.weight[1, 6] = 4.0
        module.score.weight[0, 7] = 4.0
    return load((module, tokenizer), task="sequence")


def looked_at(n: int = 4) -> tuple[Text, ...]:
    """Texts in which LOOK stands somewhere among other tokens, never last."""
    draw = torch.Generator().manual_seed(0)
    made = []
    for i in range(n):
        ids = [OTHERS[j] for j in torch.randperm(len(OTHERS), generator=draw)[: 4 + i % 2].tolist()]
        ids.insert(i % len(ids), LOOK)
        made.append(Text(ids=tuple(ids)))
    return tuple(made)
