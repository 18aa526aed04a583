"""OPT: the feed-forward part works on flattened tokens; the 350M checkpoint is post-norm and projects in and out."""

from dataclasses import replace
from typing import Any

from exegete.models.table import Block, Family, Head, Part, Stack

BLOCK = Block(
    attn=Part(out="self_attn", proj="self_attn.out_proj", norm="self_attn_layer_norm"),
    mlp=Part(out="fc2", reads="fc1", proj="fc2", norm="final_layer_norm"),
    flat=True,
)
POST = Block(
    attn=Part(out="self_attn", proj="self_attn.out_proj", after="self_attn_layer_norm"),
    mlp=Part(out="fc2", reads="fc1", proj="fc2", after="final_layer_norm"),
    flat=True,
)


def _vary(config: Any) -> Family:
    before = config.do_layer_norm_before
    norm = STACK.norm if before and not config._remove_final_layer_norm else ""
    return replace(FAMILY, stacks=(replace(STACK, block=BLOCK if before else POST, norm=norm),))


STACK = Stack("decoder.layers", BLOCK, root="decoder", norm="decoder.final_layer_norm")
HEAD = Head(("model.decoder.project_out?", "lm_head"))
FAMILY = Family("opt", ("opt",), (STACK,), (HEAD,), vary=_vary)
