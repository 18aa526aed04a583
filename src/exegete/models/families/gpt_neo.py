"""GPT-Neo: alternating global and local attention, scores not scaled."""

from exegete.models.table import Block, Family, Part, Stack

BLOCK = Block(
    attn=Part(out="attn", proj="attn.attention.out_proj", norm="ln_1"),
    mlp=Part(out="mlp", proj="mlp.c_proj", norm="ln_2"),
    tail=1,
)
FAMILY = Family("gpt_neo", ("gpt_neo",), (Stack("h", BLOCK, norm="ln_f"),))
