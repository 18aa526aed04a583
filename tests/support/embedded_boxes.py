"""Black boxes that read embeddings and whose explanations are known exactly, in the shape of a Hugging Face classifier."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny_tokenizer import tiny_tokenizer

WIDTH, LENGTH = 6, 32


class Box(nn.Module):
    """One logit f(e) of the embeddings e [S, d] of its tokens; every position has weights of its own.

    additive   f = sum_s w_s . e_s
    pairwise   f = sum_{s < t} c_st (a . e_s) (a . e_t)
    """

    def __init__(self, kind: str, rows: int, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.kind = kind
        self.config = SimpleNamespace(
            model_type="box",
            num_labels=1,
            id2label={0: "yes"},
            vocab_size=rows,
            max_position_embeddings=LENGTH,
        )
        self.embedding = nn.Embedding(rows, WIDTH)
        self.embedding.weight.data = torch.randn(rows, WIDTH, generator=draw, dtype=torch.float64)
        self.register_buffer("w", torch.randn(LENGTH, WIDTH, generator=draw, dtype=torch.float64))
        self.register_buffer("a", torch.randn(WIDTH, generator=draw, dtype=torch.float64))
        self.register_buffer("c", torch.randn(LENGTH, LENGTH, generator=draw, dtype=torch.float64).triu(1))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        e = self.embedding(input_ids)
        return SimpleNamespace(logits=self.f(e)[:, None])

    def f(self, e: Tensor) -> Tensor:
        """[batch, S, d] -> [batch]."""
        n = e.shape[1]
        if self.kind == "additive":
            return (e * self.w[:n]).sum((1, 2))
        u = e @ self.a
        return torch.einsum("bs,st,bt->b", u, self.c[:n, :n], u)


def box(kind: str) -> Model:
    """A box with a word-piece tokenizer, as a classifier of one class."""
    tokenizer = tiny_tokenizer("wordpiece")
    return load((Box(kind, len(tokenizer)), tokenizer), task="sequence")
