"""Hand-written GPT-2s of attention alone, over the words of `terrarium/repeats`, whose heads are known by construction.

The residual has four parts: the token, its position, the previous token, and what to say next (one-hot each).

    induction   0.h0 looks at the previous position and writes that token into "previous token"; 1.h1 looks for the position
                whose "previous token" is its own, and writes the token there into "say next"
    distance    0.h0 looks `period - 1` back and writes the token there into "say next": solves texts of that period without
                any look at what is said

All other heads look everywhere alike and write nothing.
"""

from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from exegete.models.load import load
from exegete.models.model import Model

WORDS, PLACES, HEADS = 64, 64, 4
TOKEN, PLACE, BEFORE, NEXT = (range(i * 64, (i + 1) * 64) for i in range(4))
WIDTH = 4 * 64 + 64  # 64 idle dimensions, so that a head is wider than a part
HEAD = WIDTH // HEADS
SHARP = 60.0


def induction() -> Model:
    """The planted two-layer induction circuit: 0.h0 (previous token), 1.h1 (induction)."""
    module = _blank()
    with torch.no_grad():
        shift = torch.diag(torch.ones(PLACES - 1), 1)  # reads place t, asks for t - 1
        _head(module, 0, 0, (PLACE, shift), (PLACE, torch.eye(PLACES)), BEFORE)
        _head(module, 1, 1, (TOKEN, torch.eye(WORDS)), (BEFORE, torch.eye(WORDS)), NEXT)
    return _model(module, "planted induction")


def distance(period: int) -> Model:
    """The negative control: 0.h0 looks at a fixed distance."""
    module = _blank()
    with torch.no_grad():
        shift = torch.diag(torch.ones(PLACES - period + 1), period - 1)
        _head(module, 0, 0, (PLACE, shift), (PLACE, torch.eye(PLACES)), NEXT)
    return _model(module, "planted distance")


def _blank() -> Any:
    """Token, place and unembedding; attention and feed-forward parts of zeros."""
    module: Any = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=WORDS, n_positions=PLACES, n_embd=WIDTH, n_layer=2, n_head=HEADS, n_inner=1, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
        module.transformer.wte.weight[:, TOKEN] = torch.eye(WORDS)
        module.transformer.wpe.weight[:, PLACE] = torch.eye(PLACES)
        module.lm_head.weight[:, NEXT] = torch.eye(WORDS) * 2
    return module.eval()


def _head(
    module: Any,
    layer: int,
    head: int,
    asks: tuple[range, torch.Tensor],
    offers: tuple[range, torch.Tensor],
    writes: range,
) -> None:
    """A head that asks with one part of the residual for what another part offers, and carries the token to a third.

    The matrices are row i = what coordinate i becomes; `asks` rows are shifted so that t asks for an earlier place.
    """
    attention = module.transformer.h[layer].attn
    start = head * HEAD
    for offset, (part, matrix) in ((0, asks), (WIDTH, offers), (2 * WIDTH, (TOKEN, torch.eye(WORDS)))):
        strength = SHARP if offset == 0 else 1.0
        attention.c_attn.weight[part.start : part.stop, offset + start : offset + start + 64] = (
            matrix.T * strength
        )
    attention.c_proj.weight[start : start + 64, writes.start : writes.stop] = torch.eye(64)


def _model(module: Any, name: str) -> Model:
    model = load((module, load("terrarium/repeats").tokenizer), task="causal")
    model.name = name
    return model
