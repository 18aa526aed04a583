"""Mixtral: Llama with routed experts; their hidden units live in fused three-dimensional weights, so there is no mlp_act."""

from exegete.models.table import Family, Part, llama_block, llama_stack

MLP = Part(out="mlp", norm="post_attention_layernorm")
FAMILY = Family("mixtral", ("mixtral",), (llama_stack(llama_block(mlp=MLP)),))
