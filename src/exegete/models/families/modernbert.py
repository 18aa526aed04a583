"""ModernBERT: pre-norm encoder with rotary positions and local windows; the first attention has no norm."""

from exegete.models.table import Block, Family, Head, Part, Stack

BLOCK = Block(
    attn=Part(out="attn", proj="attn.Wo", norm="attn_norm"),
    mlp=Part(out="mlp", proj="mlp.Wo", norm="mlp_norm"),
)
HEAD = Head(("head", "decoder"))
FAMILY = Family("modernbert", ("modernbert",), (Stack("layers", BLOCK, norm="final_norm"),), (HEAD,))
