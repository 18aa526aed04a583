"""GPT-2: learned positions, one fused query-key-value matrix, pre-norm."""

from exegete.models.table import Block, Family, Part, Stack

BLOCK = Block(
    attn=Part(out="attn", proj="attn.c_proj", norm="ln_1"),
    mlp=Part(out="mlp", proj="mlp.c_proj", norm="ln_2"),
)
FAMILY = Family("gpt2", ("gpt2",), (Stack("h", BLOCK, norm="ln_f"),))
