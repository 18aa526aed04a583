"""GPT-NeoX and Pythia: queries, keys and values interleaved per head; parallel unless the config says otherwise."""

from dataclasses import replace
from typing import Any

from exegete.models.table import Block, Family, Part, Stack

BLOCK = Block(
    attn=Part(out="attention", proj="attention.dense", norm="input_layernorm"),
    mlp=Part(out="mlp", proj="mlp.dense_4h_to_h", norm="post_attention_layernorm"),
    parallel=True,
)


def _vary(config: Any) -> Family:
    block = replace(BLOCK, parallel=bool(config.use_parallel_residual))
    return replace(FAMILY, stacks=(replace(STACK, block=block),))


STACK = Stack("layers", BLOCK, norm="final_layer_norm")
FAMILY = Family("gpt_neox", ("gpt_neox",), (STACK,), vary=_vary)
