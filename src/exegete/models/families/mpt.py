"""MPT: ALiBi positions; the feed-forward part adds the residual itself."""

from exegete.models.table import Block, Family, Part, Stack

BLOCK = Block(
    attn=Part(out="attn", proj="attn.out_proj", norm="norm_1"),
    mlp=Part(out="ffn", add="ffn.down_proj", proj="ffn.down_proj", norm="norm_2", sum="ffn"),
    tail=1,
)
FAMILY = Family("mpt", ("mpt",), (Stack("blocks", BLOCK, norm="norm_f"),))
