"""Phi: attention and feed-forward in parallel behind one norm; biases everywhere, also on the unembedding."""

from exegete.models.table import Block, Family, Part, llama_stack

BLOCK = Block(
    attn=Part(out="self_attn", proj="self_attn.dense", norm="input_layernorm"),
    mlp=Part(out="mlp", proj="mlp.fc2", norm="input_layernorm"),
    parallel=True,
)
FAMILY = Family("phi", ("phi",), (llama_stack(BLOCK, norm="final_layernorm"),))
