"""DistilBERT: post-norm encoder; its unembedding is four modules of the model itself."""

from exegete.models.table import Block, Family, Head, Part, Stack

BLOCK = Block(
    attn=Part(out="attention", proj="attention.out_lin", after="sa_layer_norm"),
    mlp=Part(out="ffn", proj="ffn.lin2", after="output_layer_norm"),
)
HEAD = Head(("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"))
FAMILY = Family("distilbert", ("distilbert",), (Stack("transformer.layer", BLOCK),), (HEAD,))
