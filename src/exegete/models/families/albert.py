"""ALBERT: layers share their modules, so a layer is a call of a module, counted from the start of a forward pass."""

from typing import Any

from exegete.models.table import Block, Family, Head, Part, Stack

BLOCK = Block(
    attn=Part(out="attention", add="attention.dense", proj="attention.dense", after="attention.LayerNorm"),
    mlp=Part(out="ffn_output", reads="ffn", proj="ffn_output", after="full_layer_layer_norm"),
)


def _paths(config: Any) -> list[str]:
    per_group = config.num_hidden_layers / config.num_hidden_groups
    return [
        f"encoder.albert_layer_groups.{int(i / per_group)}.albert_layers.{j}"
        for i in range(config.num_hidden_layers)
        for j in range(config.inner_group_num)
    ]


STACK = Stack("", BLOCK, paths=_paths)
FAMILY = Family("albert", ("albert",), (STACK,), (Head(("predictions",)),))
