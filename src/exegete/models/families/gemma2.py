"""Gemma 2: norms before and after each part, soft caps on scores and logits, alternating windows."""

from exegete.models.table import Block, Family, Head, Part, llama_stack

BLOCK = Block(
    attn=Part(
        out="self_attn", add="post_attention_layernorm", proj="self_attn.o_proj", norm="input_layernorm"
    ),
    mlp=Part(
        out="mlp", add="post_feedforward_layernorm", proj="mlp.down_proj", norm="pre_feedforward_layernorm"
    ),
)
HEAD = Head(softcap="final_logit_softcapping")
FAMILY = Family("gemma2", ("gemma2",), (llama_stack(BLOCK),), (HEAD,))
