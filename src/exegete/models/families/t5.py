"""T5: encoder-decoder with relative position biases made by the first block and handed on; scores not scaled."""

from typing import Any

from exegete.models.table import Block, Family, Head, Part, Stack

SELF = Part(
    out="layer.0.SelfAttention", proj="layer.0.SelfAttention.o", norm="layer.0.layer_norm", sum="layer.0"
)
CROSS = Part(
    out="layer.1.EncDecAttention", proj="layer.1.EncDecAttention.o", norm="layer.1.layer_norm", sum="layer.1"
)


def _feed_forward(i: int) -> Part:
    part = f"layer.{i}.DenseReluDense"
    return Part(out=part, proj=f"{part}.wo", norm=f"layer.{i}.layer_norm", sum=f"layer.{i}")


def _before(config: Any) -> float:
    return config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0


ENCODER = Block(attn=SELF, mlp=_feed_forward(1), tail=2, carry=(2, 5))
DECODER = Block(attn=SELF, cross=CROSS, mlp=_feed_forward(2), tail=2, carry=(2, 5))
STACKS = (
    Stack("encoder.block", ENCODER, "enc", "encoder", "encoder.embed_tokens", "encoder.final_layer_norm"),
    Stack("decoder.block", DECODER, "dec", "decoder", "decoder.embed_tokens", "decoder.final_layer_norm"),
)
FAMILY = Family("t5", ("t5", "mt5"), STACKS, (Head(before=_before),))
