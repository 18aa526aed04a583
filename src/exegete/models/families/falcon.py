"""Falcon: parallel (the attention output is added into the feed-forward output in place), with three key-value layouts."""

from dataclasses import replace
from typing import Any

from exegete.models.table import Block, Family, Part, Stack


def _block(attn_norm: str, mlp_norm: str, parallel: bool) -> Block:
    return Block(
        attn=Part(out="self_attention", proj="self_attention.dense", norm=attn_norm),
        mlp=Part(out="mlp", proj="mlp.dense_4h_to_h", norm=mlp_norm),
        parallel=parallel,
        tail=1,
    )


def _vary(config: Any) -> Family:
    new = config.new_decoder_architecture
    norms = ("input_layernorm", "input_layernorm")
    if new and config.num_ln_in_parallel_attn in (None, 2):
        norms = ("ln_attn", "ln_mlp")
    elif not (new or config.parallel_attn):
        norms = ("input_layernorm", "post_attention_layernorm")
    block = _block(*norms, parallel=new or config.parallel_attn)
    return replace(FAMILY, stacks=(replace(STACK, block=block),))


def _kv_heads(config: Any) -> int:
    if config.new_decoder_architecture or not config.multi_query:
        return config.num_kv_heads
    return 1


STACK = Stack("h", _block("input_layernorm", "input_layernorm", True), norm="ln_f")
FAMILY = Family("falcon", ("falcon",), (STACK,), vary=_vary, kv_heads=_kv_heads)
