"""GPT-J: attention and feed-forward in parallel behind one norm; the unembedding has a bias."""

from exegete.models.table import Block, Family, Part, Stack

BLOCK = Block(
    attn=Part(out="attn", proj="attn.out_proj", norm="ln_1"),
    mlp=Part(out="mlp", proj="mlp.fc_out", norm="ln_1"),
    parallel=True,
    tail=1,
)
FAMILY = Family("gptj", ("gptj",), (Stack("h", BLOCK, norm="ln_f"),))
