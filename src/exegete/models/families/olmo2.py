"""OLMo 2: no norm before a part, one after it, inside the residual branch."""

from exegete.models.table import Block, Family, Part, llama_stack

BLOCK = Block(
    attn=Part(out="self_attn", add="post_attention_layernorm", proj="self_attn.o_proj"),
    mlp=Part(out="mlp", add="post_feedforward_layernorm", proj="mlp.down_proj"),
)
FAMILY = Family("olmo2", ("olmo2",), (llama_stack(BLOCK),))
