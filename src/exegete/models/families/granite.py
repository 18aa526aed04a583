"""Granite: Llama with multipliers on the embedding, on what each part adds, on the scores and under the logits."""

from dataclasses import replace

from exegete.models.table import Family, Head, llama_block, llama_stack

PLAIN = llama_block()
BLOCK = llama_block(
    attn=replace(PLAIN.attn, scale="residual_multiplier"), mlp=replace(PLAIN.mlp, scale="residual_multiplier")
)
FAMILY = Family("granite", ("granite",), (llama_stack(BLOCK),), (Head(over="logits_scaling"),))
