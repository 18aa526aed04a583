"""A GPT-2 of two layers and eight heads with weights by hand: what every head looks at is known by construction.

The residual holds three parts: who the token is, where it stands (sines and cosines, which a rotation moves by one place),
and who stood before (written by the previous-token head).

    0.h0 previous token   0.h1 first token   0.h2 evenly at everything   0.h3 own token
    1.h0 induction        1.h1 duplicate     1.h2 evenly at everything   1.h3 three places back
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny

PLANTED = (
    "previous token", "first token", "-", "own token", "induction", "duplicate token", "-", "fixed distance",
)  # fmt: skip
PART, WIDTH, HEAD = 128, 512, 128
WHO, WHERE, BEFORE = slice(0, PART), slice(PART, 2 * PART), slice(2 * PART, 3 * PART)
SHARP = 40.0  # a score of the key meant, others far below


def places(n: int) -> Tensor:
    """Sines and cosines of the positions [n, PART], rows of length 1."""
    speed = np.exp(np.linspace(0, np.log(0.02), PART // 2)) * 2.5
    angle = np.arange(n)[:, None] * speed[None]
    return torch.tensor(np.concatenate([np.cos(angle), np.sin(angle)], 1) / (PART // 2) ** 0.5).float()


def moved(by: int) -> Tensor:
    """The rotation [PART, PART] with places[i] @ moved(by) = places[i + by]."""
    speed = np.exp(np.linspace(0, np.log(0.02), PART // 2)) * 2.5
    c, s = np.diag(np.cos(by * speed)), np.diag(np.sin(by * speed))
    return torch.tensor(np.block([[c, s], [-s, c]])).float()


def planted_heads(sharp: float = SHARP) -> Model:
    """The planted model. `sharp` 0: every head looks evenly at everything."""
    module: Any
    module, tokenizer = tiny("gpt2", "causal", layers=2, width=WIDTH, heads=4)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        body = module.transformer
        who = torch.randn(body.wte.weight.shape[0], PART, generator=draw)
        body.wte.weight[:, WHO] = who / who.norm(dim=-1, keepdim=True)
        body.wpe.weight[:, WHERE] = places(len(body.wpe.weight))
        for block in body.h:
            block.ln_1.weight.fill_(1.0)
            block.ln_2.weight.fill_(1.0)
        body.ln_f.weight.fill_(1.0)
        _first_layer(body.h[0].attn, sharp)
        _second_layer(body.h[1].attn, sharp)
    return load((module, tokenizer))


def _first_layer(attn: Any, sharp: float) -> None:
    eye = torch.eye(PART)
    scale = (
        sharp * HEAD**0.5 / (WIDTH / 2)
    ) ** 0.5  # the norm makes each of the two parts of length sqrt(WIDTH / 2)
    _reads(attn, 0, (WHERE, moved(-1)), (WHERE, eye), scale)
    _reads(attn, 1, (WHERE, torch.zeros(PART, PART)), (WHERE, eye), scale)
    attn.c_attn.bias[HEAD : 2 * HEAD] = (
        scale * places(1)[0] * (WIDTH / 2) ** 0.5
    )  # the query is always place 0
    _reads(attn, 3, (WHERE, eye), (WHERE, eye), scale)
    attn.c_attn.weight[WHO, 2 * WIDTH : 2 * WIDTH + PART] = eye  # the previous token's identity ...
    attn.c_proj.weight[:PART, BEFORE] = eye / (WIDTH / 2) ** 0.5  # ... goes where "before" is kept


def _second_layer(attn: Any, sharp: float) -> None:
    eye = torch.eye(PART)
    scale = (sharp * HEAD**0.5 / (WIDTH / 3)) ** 0.5
    _reads(attn, 0, (WHO, eye), (BEFORE, eye), scale)
    _reads(attn, 1, (WHO, eye), (WHO, eye), scale)
    attn.c_attn.weight[WHERE, HEAD : 2 * HEAD] = scale * eye  # and not at the own place
    attn.c_attn.weight[WHERE, WIDTH + HEAD : WIDTH + 2 * HEAD] = -scale * eye
    _reads(attn, 3, (WHERE, moved(-3)), (WHERE, eye), scale)


def _reads(
    attn: Any, head: int, query: tuple[slice, Tensor], key: tuple[slice, Tensor], scale: float
) -> None:
    """Weights of one head: from a part of the residual, through a matrix, to the query and to the key."""
    at = slice(head * HEAD, (head + 1) * HEAD)
    attn.c_attn.weight[query[0], at] = scale * query[1]
    attn.c_attn.weight[key[0], WIDTH + at.start : WIDTH + at.stop] = scale * key[1]
