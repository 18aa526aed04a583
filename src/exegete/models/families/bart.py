"""BART: post-norm encoder-decoder; the feed-forward part is two bare matrices, the logits carry a bias buffer."""

from dataclasses import replace

from exegete.models.table import Block, Family, Head, Part, Stack

ENCODER = Block(
    attn=Part(out="self_attn", proj="self_attn.out_proj", after="self_attn_layer_norm"),
    mlp=Part(out="fc2", reads="fc1", proj="fc2", after="final_layer_norm"),
)
DECODER = replace(
    ENCODER, cross=Part(out="encoder_attn", proj="encoder_attn.out_proj", after="encoder_attn_layer_norm")
)
STACKS = (
    Stack(
        "encoder.layers", ENCODER, "enc", "encoder", "encoder.embed_tokens", heads="encoder_attention_heads"
    ),
    Stack(
        "decoder.layers", DECODER, "dec", "decoder", "decoder.embed_tokens", heads="decoder_attention_heads"
    ),
)
FAMILY = Family("bart", ("bart",), STACKS, (Head(shift="final_logits_bias"),))
