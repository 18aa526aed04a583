"""StableLM: Llama with layer norms and partial rotary positions; parallel when the config says so."""

from dataclasses import replace
from typing import Any

from exegete.models.table import Family, gated, llama_block, llama_stack


def _vary(config: Any) -> Family:
    if not config.use_parallel_residual:
        return replace(FAMILY, vary=None)
    block = llama_block(mlp=gated("input_layernorm"), parallel=True)
    return replace(FAMILY, stacks=(llama_stack(block),))


FAMILY = Family("stablelm", ("stablelm",), (llama_stack(),), vary=_vary)
