"""BLOOM: ALiBi positions; both parts add the residual themselves, so what they return is not what they add."""

from dataclasses import replace
from typing import Any

from exegete.core.errors import UnsupportedModel
from exegete.models.table import Block, Family, Part, Stack

ATTN = Part(
    out="self_attention",
    add="self_attention.dense",
    proj="self_attention.dense",
    norm="input_layernorm",
    sum="self_attention",
)
MLP = Part(
    out="mlp",
    add="mlp.dense_4h_to_h",
    proj="mlp.dense_4h_to_h",
    norm="post_attention_layernorm",
    sum="mlp",
)
BLOCK = Block(attn=ATTN, mlp=MLP, tail=1)


def _vary(config: Any) -> Family:
    if config.apply_residual_connection_post_layernorm:
        raise UnsupportedModel(
            "You asked to map a BLOOM model.",
            "Its residual runs through the norms (apply_residual_connection_post_layernorm), which no table describes.",
            "Use a BLOOM checkpoint without that option.",
        )
    return replace(FAMILY, vary=None)


FAMILY = Family("bloom", ("bloom",), (Stack("h", BLOCK, norm="ln_f"),), vary=_vary)
