"""Cohere: attention and feed-forward in parallel behind one norm; logits are multiplied."""

from exegete.models.table import Family, Head, gated, llama_block, llama_stack

BLOCK = llama_block(mlp=gated("input_layernorm"), parallel=True)
FAMILY = Family("cohere", ("cohere",), (llama_stack(BLOCK),), (Head(times="logit_scale"),))
